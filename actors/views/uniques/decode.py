"""JSON records to columns: the time of each, and a hash of its user.

Used by the front end, a whole poll at a time. A record is parsed once and only `ts` and `uid` of its root become values. What
does not read is looked at again on its own, and refused with one of a few reasons.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from actors.columns.text import Hashes, Text
from actors.columns.times import NO_TIMES, Times
from actors.columns.utf8 import NO_TEXT, text_only
from actors.views.view import Decoded, Records, Refusal

END_S = 253_402_300_800
"""The first second of the year 10000: where times end, as calendars do."""

_NUMBER = re.compile(r"[ \t\r\n]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t\r\n]*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Records as columns, in order of arrival: the time of each in ms since 1970, and the hash of its user."""

    times: Times
    hashes: Hashes

    @property
    def count(self) -> int:
        """How many there are."""
        return self.times.size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self.times.nbytes + self.hashes.nbytes

    def first(self) -> int | None:
        """Return the earliest time, or None when there is none. Cost: O(count)."""
        return int(self.times.min()) if self.times.size else None

    def last(self) -> int | None:
        """Return the latest time, or None when there is none. Cost: O(count)."""
        return int(self.times.max()) if self.times.size else None


NO_FRAMES = Frames(NO_TIMES, np.empty(0, np.uint64))


class _Frame(msgspec.Struct, gc=False):
    """What is looked at of a record. Strings that hold a number as JSON writes it become one."""

    ts: float
    uid: str


class _Odd(msgspec.Struct, gc=False):
    """The same, not yet read."""

    ts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    uid: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Frame, strict=False)
_ODD = msgspec.json.Decoder(_Odd)
_TEXT = msgspec.json.Decoder(str)
_ts, _uid = attrgetter("ts"), attrgetter("uid")
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(records: Records) -> Decoded:
    """Read one poll. Cost: what the JSON parser needs, and some 250 ns a record; some 5 us more for an odd one.

    A `ts` counts down to the millisecond. Of a key that the root repeats, the last value counts.
    """
    values = text_only(records.values)
    frames, refused = _parse(values)
    seconds = np.fromiter(map(_ts, frames), np.float64, len(frames))
    # Also false for what is no number.
    accepted = (seconds >= 0) & (seconds < END_S)
    if accepted.all():
        return Decoded(*_columns(frames, seconds), None, [])
    for place in np.flatnonzero(~accepted).tolist():
        if place not in refused:
            reason = _read(values[place])
            assert isinstance(reason, str), "a time outside of the range is refused either way"
            refused[place] = reason
    refusals = [Refusal(place, refused[place]) for place in sorted(refused)]
    kept = list(compress(frames, accepted.tolist()))
    return Decoded(*_columns(kept, seconds[accepted]), accepted, refusals)


def _columns(frames: list[_Frame], seconds: Any) -> tuple[Times, Frames]:
    times = np.floor(seconds * 1000).astype(np.int64)
    return times, Frames(times, Text.of_text(list(map(_uid, frames))).hashes())


def _parse(values: Sequence[bytes | None]) -> tuple[list[_Frame], dict[int, str]]:
    """Return one frame for each of `values`, and why some are none: these have no time."""
    frames: list[_Frame] = []
    refused: dict[int, str] = {}
    left: Iterator[Any] = iter(values)
    while True:
        try:
            # The loop over a poll runs inside of `extend`; after an exception it goes on behind the record that raised it.
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
    """Return what one record holds, or why it is none."""
    if not value:
        return "empty"
    if value is NO_TEXT:
        return "not_utf8"
    try:
        odd = _ODD.decode(value)
        if isinstance(odd.ts, msgspec.UnsetType):
            return "no_ts"
        if isinstance(odd.uid, msgspec.UnsetType):
            return "no_uid"
        seconds, uid = _seconds(bytes(odd.ts)), _TEXT.decode(odd.uid)
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
    """Return the number that a JSON value is or holds as a string, None where it is something else."""
    text = _TEXT.decode(raw) if raw.startswith(b'"') else raw.decode()
    return float(text) if _NUMBER.fullmatch(text) else None
