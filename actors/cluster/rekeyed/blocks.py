"""Blocks of forwarded records: each is a record of the topic by key, with some records of its source and how far that was read.

A block for one shard says of each partition which offsets it covers: it has all their records whose keys are of the shard. So a
reader that knows how far it has come takes nothing twice, whoever has written the block again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from actors.columns import snapshot
from actors.columns.fields import blob, column, integer, listed
from actors.columns.snapshot import State
from actors.columns.times import NO_TIMES, Times
from actors.columns.values import Values
from actors.sources.polled import Headers, Mark, Polled, Reason

_BLOCK, _STANDING = "block by key", "standing by key"
_PAD = bytes(8)
_NONE = -1
_REASONS: tuple[Reason, ...] = ("deleted", "damaged")


class Range(NamedTuple):
    """The offsets from `start` to `end` of a partition. If the records before them are missing, `reason` is why.

    `mark` is what all events of the partition up to `end` say about its time.
    """

    partition: int
    start: int
    end: int
    reason: Reason | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Block:
    """Records of the topic with the id `identity`, in order of arrival, and the ranges that they are of.

    `key_of` and `headers_of` are of the record at an index.
    """

    identity: str | None
    ranges: Sequence[Range]
    partitions: NDArray[np.uint32]
    offsets: Times
    timestamps: Times
    raw: bytes
    lengths: Times
    absent: NDArray[np.bool_] | None
    key_of: Callable[[int], bytes | None]
    headers_of: Callable[[int], Headers]


class Stand(NamedTuple):
    """How far a partition is forwarded: the next offset, and the newest times of its events."""

    next: int
    recent: Times


def block_bytes(
    polled: Polled,
    rows: NDArray[np.int64],
    ranges: Sequence[Range],
    identity: str | None,
    labelled: NDArray[np.bool_] | None = None,
) -> bytes:
    """Return the records of a poll at `rows`, which ascend, as a block. Keys and headers must still be readable.

    The block has the keys and headers of the records of the poll that are in the mask `labelled`; None: of all.
    Cost: a copy, and 2 us for the key and the headers of a record.
    """
    values, own = polled.values, rows
    if polled.original is not None:
        values, own = Values.of([polled.record_value(row) for row in rows.tolist()]), np.arange(rows.size)
    text, absent = values.text, values.absent
    places = np.arange(rows.size) if labelled is None else np.flatnonzero(labelled[rows])
    keys, headers = _keys_state(polled, rows, places), _headers_state(polled, rows, places)
    state = {
        "identity": identity,
        "ranges": [
            (each.partition, each.start, each.end, each.reason, each.mark.ahead, each.mark.recent.astype(np.int64))
            for each in ranges
        ],
        "partitions": polled.partitions[rows].astype(np.uint32),
        "offsets": polled.offsets()[rows].astype(np.int64),
        "timestamps": polled.timestamps()[rows].astype(np.int64),
        "lengths": text.lengths[own].astype(np.uint32),
        "values": text.joined(own).tobytes(),
        "absent": None if absent is None else absent[own],
        "keys": keys,
        "headers": headers,
    }
    data = bytearray()
    snapshot.write(_BLOCK, state, data.extend)
    return bytes(data)


def _keys_state(polled: Polled, rows: NDArray[np.int64], places: NDArray[np.int64]) -> State:
    """Return the keys at some places as the lengths of all and their bytes; None without any."""
    keys = list(map(polled.key_of, rows[places].tolist()))
    if keys.count(None) == len(keys):
        return None
    lengths = np.full(rows.size, _NONE, np.int32)
    lengths[places] = [_NONE if key is None else len(key) for key in keys]
    return lengths, b"".join(key for key in keys if key is not None)


def _headers_state(polled: Polled, rows: NDArray[np.int64], places: NDArray[np.int64]) -> State:
    """Return the headers of those records at some places that have any, each with its place in the block."""
    found = map(polled.headers_of, rows[places].tolist())
    return [
        (place, [list(header) for header in headers]) for place, headers in zip(places.tolist(), found, strict=True) if headers
    ]


def block_of(data: bytes | memoryview) -> Block:
    """Return the block in `data`. Raises ValueError if it is something else, or damaged."""
    try:
        return _block_of(snapshot.read(_BLOCK, data))
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"this is no block of records: {error}") from None


def _block_of(state: State) -> Block:
    partitions = column(state["partitions"], np.uint32)
    count = partitions.size
    lengths = column(state["lengths"], np.uint32, count).astype(np.int64)
    raw = bytes(blob(state["values"]))
    if int(lengths.sum()) != len(raw):
        raise ValueError("its values have other lengths")
    return Block(
        None if state["identity"] is None else str(state["identity"]),
        [_range_of(each) for each in listed(state["ranges"])],
        partitions,
        column(state["offsets"], np.int64, count),
        column(state["timestamps"], np.int64, count),
        raw,
        lengths,
        None if state["absent"] is None else column(state["absent"], np.bool_, count),
        _keys_of(state["keys"], count),
        _headers_of(state["headers"], count),
    )


def _range_of(state: State) -> Range:
    partition, start, end, reason, ahead, recent = listed(state)
    first = integer(start, 0)
    mark = Mark(column(recent, np.int64), ahead=bool(ahead))
    known = next((each for each in _REASONS if each == reason), None)
    return Range(integer(partition, 0), first, integer(end, first), known, mark)


def _keys_of(state: State, count: int) -> Callable[[int], bytes | None]:
    if state is None:
        return _no_key
    sizes, joined = listed(state)
    lengths, data = column(sizes, np.int32, count).astype(np.int64), bytes(blob(joined))
    ends = np.cumsum(np.maximum(lengths, 0))
    if (int(ends[-1]) if count else 0) != len(data):
        raise ValueError("its keys have other lengths")

    def key_of(place: int) -> bytes | None:
        length, end = int(lengths[place]), int(ends[place])
        return None if length == _NONE else data[end - length : end]

    return key_of


def _no_key(_: int) -> None:
    """Return no key."""


def _headers_of(state: State, count: int) -> Callable[[int], Headers]:
    found: dict[int, Headers] = {
        integer(place, 0, count - 1): tuple(
            (str(name), None if value is None else bytes(value)) for name, value in map(listed, listed(headers))
        )
        for place, headers in map(listed, listed(state))
    }
    return lambda place: found.get(place, ())


@dataclass(frozen=True, slots=True)
class _Share:
    """The records of a block that are not read yet, at these rows."""

    block: Block
    rows: NDArray[np.int64]


class Collected:
    """Records of several blocks that become one poll."""

    def __init__(self) -> None:
        self._shares: list[_Share] = []
        self.count = 0
        self.marks: dict[int, Mark] = {}

    def add(self, block: Block, rows: NDArray[np.int64]) -> None:
        """Add the records of a block at `rows`, which ascend."""
        if rows.size:
            self._shares.append(_Share(block, rows))
            self.count += rows.size

    def mark(self, partition: int, mark: Mark) -> None:
        """Add the mark of a partition; the last one counts."""
        before = self.marks.get(partition)
        if before is not None:
            mark = Mark(mark.recent if mark.recent.size else before.recent, ahead=mark.ahead or before.ahead)
        self.marks[partition] = mark

    def polled(self, **more: Any) -> Polled:
        """Return the poll. `more` are further fields of it. Cost: a copy of the columns."""
        shares = self._shares
        if not shares:
            values, partitions, offsets, stamps = Values.of([]), np.empty(0, np.uint8), NO_TIMES, NO_TIMES
        else:
            values = _values_of(shares)
            partitions = cast("Any", np.concatenate([each.block.partitions[each.rows] for each in shares]))
            offsets = np.concatenate([each.block.offsets[each.rows] for each in shares])
            stamps = np.concatenate([each.block.timestamps[each.rows] for each in shares])
        ends = np.cumsum([0, *(each.rows.size for each in shares)])

        def place_of(index: int) -> tuple[Block, int]:
            number = int(np.searchsorted(ends, index, side="right")) - 1
            return shares[number].block, int(shares[number].rows[index - int(ends[number])])

        def key_of(index: int) -> bytes | None:
            block, row = place_of(index)
            return block.key_of(row)

        def headers_of(index: int) -> Headers:
            block, row = place_of(index)
            return block.headers_of(row)

        return Polled(values, partitions, lambda: offsets, lambda: stamps, key_of, headers_of, marks=self.marks, **more)


def _values_of(shares: Sequence[_Share]) -> Values:
    raw = b"".join([*(each.block.raw for each in shares), _PAD])
    lengths, starts, masks = [], [], []
    at = 0
    for each in shares:
        own = each.block.lengths
        begins = np.cumsum(own) - own + at
        at += len(each.block.raw)
        lengths.append(own[each.rows])
        starts.append(begins[each.rows])
        masks.append(np.zeros(each.rows.size, np.bool_) if each.block.absent is None else each.block.absent[each.rows])
    absent = np.concatenate(masks)
    return Values.of_columns(raw, np.concatenate(starts), np.concatenate(lengths), absent if absent.any() else None)


def standing_bytes(stands: Mapping[int, Stand], identity: str | None) -> bytes:
    """Return how far the partitions of a forwarder are, as bytes."""
    state = {
        "identity": identity,
        "stands": [(number, each.next, each.recent.astype(np.int64)) for number, each in sorted(stands.items())],
    }
    data = bytearray()
    snapshot.write(_STANDING, state, data.extend)
    return bytes(data)


def standing_of(data: bytes) -> tuple[dict[int, Stand], str | None]:
    """Return what `standing_bytes` was given. Raises ValueError if it is something else, or damaged."""
    try:
        state = snapshot.read(_STANDING, data)
        stands = {
            integer(number, 0): Stand(integer(following, 0), column(recent, np.int64).copy())
            for number, following, recent in map(listed, listed(state["stands"]))
        }
        identity = state["identity"]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"this is no standing of a forwarder: {error}") from None
    return stands, None if identity is None else str(identity)
