"""Decodes JSON records to columns: the time of each record and the hash of its user.

Used by the front end, a whole poll at a time. Records of one shape are read as columns (`actors.columns.json`). Other records
are parsed, and only `ts` and `uid` of the root become values. A record that cannot be parsed is parsed again, more slowly, and
is decoded or refused with one of a few reasons.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from actors.columns.json.alike import Alike
from actors.columns.record_text import bare, defect, other_form
from actors.columns.text import Hashes, Text
from actors.columns.times import Times
from actors.columns.utf8 import text_only
from actors.columns.values import Values
from actors.records.form import Form
from actors.records.reader import TIME, Reader
from actors.records.roles import Key, Range
from actors.views.view import Decoded, Records, Refusal

END_S = 253_402_300_800
"""The first second of the year 10000. Times must be earlier, because Python's calendar ends there."""

USER = "user"
"""The role of a user in JSON records of another form. The other role is the time."""

_YEARS = Range(0, END_S * 1000 - 1, "in the years 1970 to 9999")
_NUMBER = re.compile(r"[ \t\r\n]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t\r\n]*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames as columns, in order of arrival."""

    times: Times
    """The time of each frame, ms since 1970."""
    hashes: Hashes
    """The hash of the user of each frame."""

    @property
    def count(self) -> int:
        """The number of frames."""
        return self.times.size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self.times.nbytes + self.hashes.nbytes

    def first(self) -> int | None:
        """Return the earliest time, or None without frames. Cost: O(count)."""
        return int(self.times.min()) if self.times.size else None

    def last(self) -> int | None:
        """Return the latest time, or None without frames. Cost: O(count)."""
        return int(self.times.max()) if self.times.size else None


class _Frame(msgspec.Struct, gc=False):
    """The members of a record that are used. The decoder also accepts a number in a string."""

    ts: float
    uid: str


class _Raw(msgspec.Struct, gc=False):
    """The same members, not parsed."""

    ts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    uid: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Frame, strict=False)
_any_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OTHER = other_form("ts", "uid")
_RAW = msgspec.json.Decoder(_Raw)
_TEXT = msgspec.json.Decoder(str)
_ts, _uid = attrgetter("ts"), attrgetter("uid")
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ALIKE = Alike(_DECODER.decode, _NO_JSON, texts=("uid",), numbers=("ts",), below=END_S)


def decode(records: Records) -> Decoded:
    """Decode one poll. Cost: 0.3 us a record of a common shape; else the JSON parser and about 250 ns; 5 us for a second look.

    Times are rounded down to milliseconds. If the root repeats a key, the last value is used.
    """
    values = records.values
    groups, rest = _ALIKE.groups(values)
    if not groups:
        return _parsed(values)
    times, hashes = np.empty(len(values), np.int64), np.empty(len(values), np.uint64)
    accepted, refusals = None, list[Refusal]()
    for group in groups:
        times[group.rows] = group.numbers["ts"] * 1000
        hashes[group.rows] = group.texts["uid"].hashes()
    if rest.size:
        others = _parsed(values.part(rest))
        taken = rest if others.accepted is None else rest[others.accepted]
        times[taken], hashes[taken] = others.times, others.batch.hashes
        if others.accepted is not None:
            accepted = np.ones(len(values), np.bool_)
            accepted[rest] = others.accepted
            times, hashes = times[accepted], hashes[accepted]
            refusals = [Refusal(int(rest[refusal.place]), refusal.reason) for refusal in others.refusals]
    return Decoded(times, Frames(times, hashes), accepted, refusals)


class RecordDecoder:
    """Decodes records of a `form` to frames. Any thread may use it."""

    def __init__(self, form: Form) -> None:
        self._reader = Reader(form, {USER: Key()}, _YEARS)

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: as `Reader.read`, and 50 ns a record for hashes."""
        rows = self._reader.read(records)
        times = rows.columns[TIME]
        return Decoded(times, Frames(times, rows.columns[USER].hashes()), rows.accepted, rows.refusals)


def _parsed(records: Values) -> Decoded:
    """Decode records with the JSON parser."""
    values = records.listed
    frames, refused = _parse(text_only(values), values)
    seconds = np.fromiter(map(_ts, frames), np.float64, len(frames))
    # Also false for NaN, the time of a refused record.
    accepted = (seconds >= 0) & (seconds < END_S)
    if accepted.all():
        return Decoded(*_columns(frames, seconds), None, [])
    for place in np.flatnonzero(~accepted).tolist():
        if place not in refused:
            reason = _read(values[place])
            assert isinstance(reason, str), "the second look refuses the same times"
            refused[place] = reason
    refusals = [Refusal(place, refused[place]) for place in sorted(refused)]
    kept = list(compress(frames, accepted.tolist()))
    return Decoded(*_columns(kept, seconds[accepted]), accepted, refusals)


def _columns(frames: list[_Frame], seconds: Any) -> tuple[Times, Frames]:
    times = np.floor(seconds * 1000).astype(np.int64)
    return times, Frames(times, Text.of_text(list(map(_uid, frames))).hashes())


def _parse(texts: Sequence[bytes | None], values: Sequence[bytes | None]) -> tuple[list[_Frame], dict[int, str]]:
    """Return one frame for each of `values`, and the reasons of refusals by index. A refused record has the time NaN.

    `texts` are the same values, but those that are not UTF-8 are replaced, so that the parser refuses them.
    """
    frames: list[_Frame] = []
    refused: dict[int, str] = {}
    left: Iterator[Any] = iter(texts)
    while True:
        try:
            # The loop runs inside `extend`. After an exception, the iterator continues behind the record that raised it.
            frames.extend(map(_DECODER.decode, left))
        except (*_NO_JSON, TypeError):
            place = len(frames)
            read = _read(values[place])
            if isinstance(read, str):
                refused[place] = read
                read = _Frame(float("nan"), "")
            frames.append(read)
        else:
            return frames, refused


def _read(value: bytes | None) -> _Frame | str:
    """Return the frame of one record, or the reason of its refusal."""
    value = bare(value or b"")
    if (reason := defect(value)) is not None:
        return reason
    try:
        raw = _RAW.decode(value)
        if isinstance(raw.ts, msgspec.UnsetType):
            return _OTHER if isinstance(raw.uid, msgspec.UnsetType) and _any_members(value) else "no_ts"
        if isinstance(raw.uid, msgspec.UnsetType):
            return "no_uid"
        seconds, uid = _seconds(bytes(raw.ts)), _TEXT.decode(raw.uid)
    except msgspec.ValidationError:
        return "wrong_type"
    except _NO_JSON:
        return "not_json"
    if seconds is None:
        return "wrong_type"
    if not 0 <= seconds < END_S:
        return "ts_out_of_range"
    return _Frame(seconds, uid)


def _seconds(raw: bytes) -> float | None:
    """Return the number of a JSON value that is a number, or a string with a number; else None."""
    text = _TEXT.decode(raw) if raw.startswith(b'"') else raw.decode()
    return float(text) if _NUMBER.fullmatch(text) else None
