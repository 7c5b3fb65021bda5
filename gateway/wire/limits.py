"""The limits of the gateway as one immutable object, and the holder of the limits that apply now.

The composition root makes them from the settings, and replaces them as a whole at a reload. Code that applies a limit reads
`allowance.now` at that moment, and stores nothing of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits by the names of the settings `http.*`; times in seconds. Immutable, so that no limit changes alone.

    `tokens` are pairs of a scope (`read`, or `write`, which includes `read`) and a token's SHA-256; empty if no token is
    required. `reply_bytes` is the memory for all answers in progress, a part of the budget.
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
        """Return all limits but the tokens."""
        return f"Limits(deadline_s={self.deadline_s}, max_queries={self.max_queries}, …, {len(self.tokens)} tokens)"


class Allowance:
    """Holds the limits that apply now.

    Any thread may read them; setting `now` is one assignment, so no reader sees half a change.

    >>> allowance = Allowance(Limits(max_queries=1))
    >>> allowance.now = Limits(max_queries=2)
    >>> allowance.now.max_queries
    2
    """

    __slots__ = ("now",)

    def __init__(self, now: Limits | None = None) -> None:
        self.now = now if now is not None else Limits()
