"""The last records that a stream refused, for display.

Used by the front end, read by the gateway. Memory is bounded, however many records are refused.
"""

from collections import Counter, deque
from dataclasses import astuple, dataclass

from actors.columns.snapshot import State


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused record: its partition and offset, the reason, its length in bytes, and its first bytes."""

    partition: int
    offset: int
    reason: str
    length: int
    head: bytes


class Refusals:
    """Counts refused records by reason, and keeps the first `max_bytes` bytes of the newest `max_count` ones.

    >>> refusals = Refusals(max_count=2, max_bytes=4)
    >>> for offset in range(3):
    ...     refusals.add(0, offset, "no_number", b"R_yesterday")
    >>> [(kept.offset, kept.head) for kept in refusals.newest()], refusals.counts()
    ([(2, b'R_ye'), (1, b'R_ye')], {'no_number': 3})
    """

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._kept: deque[Refused] = deque(maxlen=max_count)
        self._max_bytes = max_bytes
        self._counts: Counter[str] = Counter()

    def add(self, partition: int, offset: int, reason: str, raw: bytes) -> None:
        """Count and keep a record. Cost: O(max_bytes)."""
        self._counts[reason] += 1
        self._kept.append(Refused(partition, offset, reason, len(raw), raw[: self._max_bytes]))

    def state(self) -> State:
        """Return the state for `restore`."""
        return {"counts": dict(self._counts), "kept": [astuple(refused) for refused in self._kept]}

    def restore(self, state: State) -> None:
        """Replace the content by that of `state`."""
        self._counts = Counter(state["counts"])
        self._kept.clear()
        self._kept.extend(
            Refused(partition, offset, reason, length, bytes(head)) for partition, offset, reason, length, head in state["kept"]
        )

    def counts(self) -> dict[str, int]:
        """Return the number of refused records since the start, by reason."""
        return dict(self._counts)

    def newest(self) -> tuple[Refused, ...]:
        """Return the kept records, newest first."""
        return tuple(reversed(self._kept))
