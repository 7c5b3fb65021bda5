"""The limits of the gateway as one immutable object, and the holder of the limits that apply now.

The composition root makes them from the settings, and replaces them as a whole at a reload. Code that applies a limit reads
`allowance.now` at that moment, and stores nothing of it.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits by the names of the settings `http.*`, which have the defaults; times in seconds.

    `tokens` are pairs of a scope (`read`, or `write`, which includes `read`) and a token's SHA-256; empty if no token is
    required. They are in no text of this object. `reply_bytes` is the memory for all answers in progress, a part of the budget.
    """

    deadline_s: float
    max_queries: int
    max_rows: int
    max_body_bytes: int
    max_header_bytes: int
    max_connections: int
    max_watchers: int
    header_s: float
    body_s: float
    stall_s: float
    keep_alive_s: float
    hosts: tuple[str, ...]
    tokens: tuple[tuple[str, bytes], ...] = field(repr=False)
    reply_bytes: int


NOTHING = Limits(0.0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, (), (), 0)
"""Limits that allow nothing, for `dataclasses.replace`."""


@dataclass(slots=True)
class Allowance:
    """Holds the limits that apply now.

    Any thread may read them; setting `now` is one assignment, so no reader sees half a change.
    """

    now: Limits
