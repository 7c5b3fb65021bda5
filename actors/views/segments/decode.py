"""Decodes records such as `{"batch_id":1,"segment_id":0,"data":[1,2,3]}` to runs of numbers.

Used by the front end, a whole poll at a time. An invalid record is refused with one of a few reasons.
"""

import struct
from collections.abc import Iterator
from itertools import compress
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.json.lists import Lists, NumberLists
from actors.columns.record_text import BOM, bare, defect, other_form
from actors.columns.times import INT64_MAX, INT64_MIN, Times
from actors.columns.values import Values
from actors.views.segments.runs.run import Run, RunBuilder, raw_runs
from actors.views.segments.runs.spool import Spool
from actors.views.view import Decoded, Records, Refusal

LONG_BYTES = 16_384
"""Records of at least this many bytes, about 2,000 numbers, are compressed at once: that costs less than to decode them."""

_BLOCK_BYTES = 128 << 10
"""A long record is decoded in blocks of this many bytes."""

UNREADABLE = (msgspec.MsgspecError, RecursionError, struct.error, ValueError)
"""The errors for invalid JSON, wrong types, too deep nesting, and numbers outside int64."""

Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]


class _Short(msgspec.Struct, gc=False):
    batch_id: Int64
    segment_id: int
    data: list[int]


class _Long(msgspec.Struct, gc=False):
    batch_id: Int64
    segment_id: int
    data: msgspec.Raw


_read_short = msgspec.json.Decoder(_Short).decode
_read_long = msgspec.json.Decoder(_Long).decode
_NAMES = ("batch_id", "segment_id", "data")
_OTHER = other_form(*_NAMES)
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_id = msgspec.json.Decoder(Int64).decode
_read_numbers = msgspec.json.Decoder(list[int]).decode


class Segments:
    """Segments in order of arrival, all of one epoch: columns of batch ids, segment ids and runs."""

    __slots__ = ("batch_ids", "epoch", "nbytes", "runs", "segment_ids")

    def __init__(self, batch_ids: Times, segment_ids: list[int], runs: list[Run], epoch: int) -> None:
        self.batch_ids = batch_ids
        self.segment_ids = segment_ids
        self.runs = runs
        self.epoch = epoch
        self.nbytes = batch_ids.nbytes + 16 * len(runs) + sum(run.nbytes for run in runs)

    @property
    def count(self) -> int:
        """The number of segments."""
        return len(self.runs)

    def first(self) -> int | None:
        """Return the smallest batch id, or None without segments."""
        return int(self.batch_ids.min()) if self.runs else None

    def last(self) -> int | None:
        """Return the largest batch id, or None without segments."""
        return int(self.batch_ids.max()) if self.runs else None


class SegmentDecoder:
    """Decodes segments with ids from 0 to `segments` - 1. Any thread may use it.

    Reasons: empty, framed, not_utf8, not_text, not_json, not_object, no_batch_id, no_segment_id, no_data, wrong_batch_id,
    wrong_segment_id, wrong_data, wrong_number, segment_out_of_range, unsorted.
    """

    def __init__(self, segments: int, spool: Spool) -> None:
        self._segments = segments
        self._spool = spool
        self._lists = NumberLists(_read_short, UNREADABLE, members=("batch_id", "segment_id"), longest=LONG_BYTES)

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: 2 us a record and 30 ns a number if the records have one shape.

        Other records take 90 ns a number, long ones 170 ns. A record of more than `SPOOL_FROM` numbers is written to the spool
        block by block. Raises OSError if the spool has no room.
        """
        values = records.values
        found = Found()
        rest = self._columns(values, found)
        others = values.listed if rest is None else values.part(rest).listed
        for place, value in enumerate(others) if rest is None else zip(rest.tolist(), others, strict=True):
            record = value or b""
            reason = self._take(place, record, found)
            if reason is not None and record.startswith(BOM):
                reason = self._take(place, bare(record), found)
            if reason is not None:
                found.refusals.append(Refusal(place, reason))
        return found.decoded(len(values), records.epoch)

    def _columns(self, values: Values, found: "Found") -> Times | None:
        """Add the segments of the records that have one shape. Return the places of the others, None for all records."""
        if values.nbytes > LONG_BYTES * len(values):
            return None  # a list of long records would be copied
        lists = self._lists.read(values.text)
        if lists is None:
            return None
        found.add_columns(lists, lists.members["segment_id"] < self._segments)
        left = np.ones(len(values), np.bool_)
        left[lists.rows] = False
        return np.flatnonzero(left)

    def _take(self, place: int, value: bytes, found: "Found") -> str | None:
        """Add the segment of a record, or return the reason for its refusal."""
        try:
            return self._short(place, value, found) if len(value) < LONG_BYTES else self._long(place, value, found)
        except UNREADABLE:
            return _reason(value)

    def _short(self, place: int, value: bytes, found: "Found") -> str | None:
        """Decode a short record in one call. Raises one of `UNREADABLE`."""
        record = _read_short(value)
        data = _packed(record.data)
        if not 0 <= record.segment_id < self._segments:
            return "segment_out_of_range"
        found.add(place, record.batch_id, record.segment_id, data)
        return None

    def _long(self, place: int, value: bytes, found: "Found") -> str | None:
        """Decode a long record block by block. Raises one of `UNREADABLE`."""
        builder = RunBuilder(self._spool)
        record = _read_long(value)
        if not 0 <= record.segment_id < self._segments:
            return "segment_out_of_range"
        for numbers in _blocks(memoryview(record.data)):
            if not builder.extend(numbers):
                return "unsorted"
        found.add(place, record.batch_id, record.segment_id, builder.run())
        return None


class Found:
    """The segments and refusals of a poll. The numbers of all short records are checked together, in `finish`.

    `unsorted` is the reason for the refusal of a record whose numbers do not ascend.
    """

    def __init__(self, unsorted: str = "unsorted") -> None:
        self._unsorted = unsorted
        self.places: list[int] = []
        self.batch_ids: list[int] = []
        self.segment_ids: list[int] = []
        self.runs: list[Run] = []
        self.refusals: list[Refusal] = []
        self._contents: list[bytes | Run | None] = []

    def add(self, place: int, batch_id: int, segment_id: int, content: bytes | Run) -> None:
        """Add a segment. `content` is its run, or for a short record the numbers as int64 bytes."""
        self.places.append(place)
        self.batch_ids.append(batch_id)
        self.segment_ids.append(segment_id)
        self._contents.append(content)

    def add_columns(self, lists: Lists, in_range: NDArray[np.bool_]) -> None:
        """Add the segments of `lists`, of whose ids some are `in_range`. Cost: 1 us a record, 8 ns a number."""
        runs = [run for part in lists.parts for run in raw_runs(*part)]
        rows, batch_ids, segment_ids = lists.rows, lists.members["batch_id"], lists.members["segment_id"]
        if not in_range.all():
            self.refusals += [Refusal(place, "segment_out_of_range") for place in rows[~in_range].tolist()]
            rows, batch_ids, segment_ids = rows[in_range], batch_ids[in_range], segment_ids[in_range]
            runs = list(compress(runs, in_range.tolist()))
        self.places += rows.tolist()
        self.batch_ids += batch_ids.tolist()
        self.segment_ids += segment_ids.tolist()
        self._contents += runs

    def finish(self) -> None:
        """Make the runs of the short records, refuse unsorted ones, and put all in order of arrival.

        Cost: 1 us a record that was parsed by itself, 10 ns a number.
        """
        short = [content for content in self._contents if isinstance(content, bytes)]
        made = iter(self._short_runs(short))
        runs = [next(made) if isinstance(content, bytes) else content for content in self._contents]
        kept = [place for place, run in enumerate(runs) if run is not None]
        self.refusals += [Refusal(self.places[place], self._unsorted) for place, run in enumerate(runs) if run is None]
        self.refusals.sort()
        kept.sort(key=self.places.__getitem__)
        self.runs = [run for place in kept if (run := runs[place]) is not None]
        self.batch_ids = [self.batch_ids[place] for place in kept]
        self.segment_ids = [self.segment_ids[place] for place in kept]

    def decoded(self, count: int, epoch: int) -> Decoded:
        """Return the segments and refusals of a poll of `count` records. To be called once. Cost: that of `finish`."""
        self.finish()
        accepted = None
        if self.refusals:
            accepted = np.ones(count, np.bool_)
            accepted[[refusal.place for refusal in self.refusals]] = False
        times = np.array(self.batch_ids, np.int64)
        return Decoded(times, Segments(times, self.segment_ids, self.runs, epoch), accepted, self.refusals)

    @staticmethod
    def _short_runs(short: list[bytes]) -> list[Run | None]:
        """Return the run of each short record, None if its numbers do not ascend."""
        counts = np.fromiter(map(len, short), np.int64, len(short)) // 8
        return raw_runs(np.frombuffer(b"".join(short), np.int64), np.cumsum(counts) - counts, counts)


def content_of(data: bytes, spool: Spool) -> bytes | Run | None:
    """Return the numbers of a JSON list: a run if it is long, else int64 bytes; None if a long one does not ascend.

    Raises one of `UNREADABLE`.
    """
    if len(data) < LONG_BYTES:
        return _packed(_read_numbers(data))
    builder = RunBuilder(spool)
    return builder.run() if all(map(builder.extend, _blocks(memoryview(data)))) else None


def _packed(numbers: list[int]) -> bytes:
    """Return the numbers as int64 bytes. Cost: 15 ns a number, half the time of numpy.

    Raises struct.error for a number outside int64.
    """
    return struct.pack(f"{len(numbers)}q", *numbers)


def _blocks(data: memoryview) -> Iterator[Times]:
    """Yield the numbers of the JSON list `data`, decoded in blocks of `_BLOCK_BYTES` that are cut at commas.

    If each block is a valid list of integers, so is the whole list. Raises one of `UNREADABLE`.
    """
    if bytes(data[:1]) != b"[" or bytes(data[-1:]) != b"]":
        raise ValueError("a list was expected")
    at, end, size = 1, len(data) - 1, _BLOCK_BYTES
    while at <= end:
        text = bytes(data[at : min(at + size, end)])
        if at + size < end:
            cut = text.rfind(b",")
            if cut < 0:
                size *= 2
                continue
            text = text[:cut]
        numbers = _read_numbers(b"[" + text + b"]")
        if not numbers and len(text) + 2 < len(data):
            raise ValueError("a number was expected between two commas")
        at += len(text) + 1
        yield np.frombuffer(_packed(numbers), np.int64)


def _reason(value: bytes) -> str:
    """Return the reason why a record could not be decoded."""
    if (reason := defect(bare(value) if len(value) < LONG_BYTES else value)) is not None:
        return reason
    try:
        members = _read_members(value)
    except msgspec.ValidationError:
        return "not_object"
    except UNREADABLE:
        return "not_json"
    if members and not members.keys() & set(_NAMES):
        return _OTHER
    for name in _NAMES:
        if name not in members:
            return f"no_{name}"
    for name in ("batch_id", "segment_id"):
        try:
            _read_id(members[name])
        except UNREADABLE:
            return "segment_out_of_range" if name == "segment_id" and _is_integer(members[name]) else f"wrong_{name}"
    return "wrong_number" if bytes(memoryview(members["data"])[:1]) == b"[" else "wrong_data"


def _is_integer(text: msgspec.Raw) -> bool:
    return bytes(text).removeprefix(b"-").isdigit()
