"""The last records that a stream refused, for display.

Used by the front end, read by the gateway. Memory is bounded, however many records are refused.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from actors.columns.snapshot import State
from actors.timeline.samples import Headers, cut_headers, cut_key


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused record: its partition and offset, the reason, its length in bytes, and its first bytes.

    `written_at` is its own time (ms since 1970), `key` and `headers` are cut. Records of checkpoints of earlier versions, and
    events that were decoded before a checkpoint, have none of these.
    """

    partition: int
    offset: int
    reason: str
    length: int
    head: bytes
    written_at: int | None = None
    key: bytes | None = None
    headers: Headers = ()


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

    def add(
        self,
        partition: int,
        offset: int,
        reason: str,
        raw: bytes,
        *,
        written_at: int | None = None,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> None:
        """Count and keep a record. Cost: O(max_bytes)."""
        self._counts[reason] += 1
        head = raw[: self._max_bytes]
        self._kept.append(Refused(partition, offset, reason, len(raw), head, written_at, cut_key(key), cut_headers(headers)))

    @property
    def room(self) -> int:
        """The number of records that it keeps."""
        return self._kept.maxlen or 0

    def state(self) -> State:
        """Return the state for `restore`."""
        return {"counts": dict(self._counts), "kept": [astuple(refused) for refused in self._kept]}

    def restore(self, state: State) -> None:
        """Replace the content by that of `state`."""
        self._counts = Counter(state["counts"])
        self._kept.clear()
        self._kept.extend(map(_refused, state["kept"]))

    def counts(self) -> dict[str, int]:
        """Return the number of refused records since the start, by reason."""
        return dict(self._counts)

    def newest(self) -> tuple[Refused, ...]:
        """Return the kept records, newest first."""
        return tuple(reversed(self._kept))


def _refused(row: Sequence[Any]) -> Refused:
    """Return a record of a state. Earlier versions have no time, key and headers."""
    partition, offset, reason, length, head, *more = row
    if not more:
        return Refused(partition, offset, reason, length, bytes(head))
    written_at, key, headers = more
    kept = tuple((name, None if value is None else bytes(value)) for name, value in headers)
    return Refused(partition, offset, reason, length, bytes(head), written_at, None if key is None else bytes(key), kept)
