"""What the gateway allows: one immutable object, and the place where the one that holds now is found.

Made by the composition root from the settings, and replaced as a whole when they are read again. Whoever keeps a limit looks at
`allowance.now` when it needs it, and remembers none of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits by the names of the settings `http.*`, times in seconds. Immutable, so that none of them changes alone.

    `tokens` are pairs of a scope (`read` or `write`, which may read too) and a token's SHA-256; none where nothing is guarded.
    `reply_bytes` is the memory that all answers under way may take, a part of the budget.
    """

    deadline_s: float = 10.0
    max_queries: int = 256
    max_rows: int = 10_000_000
    max_body_bytes: int = 8 << 20
    max_header_bytes: int = 16_384
    max_connections: int = 12_000
    max_watchers: int = 2_000
    header_s: float = 5.0
    body_s: float = 9.0
    stall_s: float = 9.0
    keep_alive_s: float = 65.0
    hosts: tuple[str, ...] = ()
    tokens: tuple[tuple[str, bytes], ...] = ()
    reply_bytes: int = 64 << 20

    def __repr__(self) -> str:
        """Say everything but the tokens."""
        return f"Limits(deadline_s={self.deadline_s}, max_queries={self.max_queries}, …, {len(self.tokens)} tokens)"


class Allowance:
    """Holds the limits of now. Any thread may look; setting `now` is one assignment, so nobody sees half of a change.

    >>> allowance = Allowance(Limits(max_queries=1))
    >>> allowance.now = Limits(max_queries=2)
    >>> allowance.now.max_queries
    2
    """

    __slots__ = ("now",)

    def __init__(self, now: Limits | None = None) -> None:
        self.now = now if now is not None else Limits()
