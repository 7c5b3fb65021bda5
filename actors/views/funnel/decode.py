"""Decodes JSON records to columns: the key of each event, its step and its time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.columns.text import Hashes, Text
from actors.columns.times import INT64_MAX, Times
from actors.records.form import Form
from actors.records.moments import Mask
from actors.records.reader import TIME, Reader
from actors.records.roles import Key, Name, Range
from actors.timeline.unit import UNITS
from actors.views.view import Decoded, Records, Refusal

KEY, STEP = "key", "step"
_LONGEST = 65_536
_END_S = 253_402_300_800
"""The first second of the year 10000."""


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """Events as columns, in any order. The bytes of `keys` may be shared with the poll."""

    keys: Text
    hashes: Hashes
    times: Times
    steps: NDArray[np.int8]

    @property
    def count(self) -> int:
        """The number of events."""
        return self.times.size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns and of the keys."""
        own = self.keys.starts.nbytes + self.keys.lengths.nbytes + int(self.keys.lengths.sum())
        return own + self.hashes.nbytes + self.times.nbytes + self.steps.nbytes

    def only(self, rows: Times) -> "Keyed":
        """Return the events at `rows`. Shares the bytes of the keys."""
        return Keyed(self.keys.only(rows), self.hashes[rows], self.times[rows], self.steps[rows])

    def first(self) -> int | None:
        """Return the earliest time, or None without events. Cost: O(count)."""
        return int(self.times.min()) if self.times.size else None

    def last(self) -> int | None:
        """Return the latest time, or None without events. Cost: O(count)."""
        return int(self.times.max()) if self.times.size else None


class _Key(Key):
    """A key: text, or a whole number, which is the key of its digits, because addresses and answers have text."""

    expected = "text of at most 65,536 bytes or a whole number of 64 bits"

    def value(self, raw: bytes) -> bytes:
        """Return the key as bytes."""
        found = super().value(raw)
        if len(found) > _LONGEST:
            raise self.unfit("longer text")
        return found

    def of_text(self, texts: Text) -> tuple[Text, Mask]:
        """See the base."""
        return texts, texts.lengths <= _LONGEST


class RecordDecoder:
    """Decodes records of a `form` to events of `steps`: of a step that is listed twice, the first one.

    Without a member for the key, the key of the record is taken.

    Times are from 1970 to the year 9999. Any thread may use it.
    """

    def __init__(self, steps: Sequence[str], form: Form) -> None:
        names = {text.encode(): steps.index(step) for step in steps for text in form.names.get(step, (step,))}
        last = min(_END_S * UNITS[form.unit] - 1, INT64_MAX)
        roles = {STEP: Name(names), **({KEY: _Key()} if KEY in form.members else {})}
        self._reader = Reader(form, roles, Range(0, last, "from 1970 to 9999"))
        self._in_record = KEY in roles

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: as `Reader.read`, and 50 ns a record for hashes; 0.5 us more for the key of a record."""
        rows = self._reader.read(records)
        times, steps, accepted, refusals = rows.columns[TIME], rows.columns[STEP], rows.accepted, rows.refusals
        if self._in_record:
            keys = rows.columns[KEY]
        else:
            places = np.arange(len(records.values)) if accepted is None else np.flatnonzero(accepted)
            found, unfit = _keys(records, places)
            if unfit:
                good = np.ones(places.size, np.bool_)
                good[[index for index, _ in unfit]] = False
                times, steps = times[good], steps[good]
                accepted = np.zeros(len(records.values), np.bool_)
                accepted[places[good]] = True
                refusals = sorted([*refusals, *(Refusal(int(places[index]), reason) for index, reason in unfit)])
            keys = Text.of(found)
        return Decoded(times, Keyed(keys, keys.hashes(), times, steps), accepted, refusals)


def _keys(records: Records, places: Times) -> tuple[list[bytes], list[tuple[int, str]]]:
    """Return the keys of records, and the indices in `places` of those that have no fit key, with the reasons."""
    found, unfit = list[bytes](), list[tuple[int, str]]()
    for index, place in enumerate(places.tolist()):
        key = records.key_of(place)
        reason = _defect(key)
        if key is None or reason is not None:
            unfit.append((index, f"key: expected text of at most 65,536 bytes as the key in Kafka, got {reason}"))
        else:
            found.append(key)
    return found, unfit


def _defect(key: bytes | None) -> str | None:
    if key is None:
        return "nothing"
    if len(key) > _LONGEST:
        return "a longer one"
    if key.isascii():
        return None
    try:
        key.decode()
    except UnicodeDecodeError:
        return "other bytes than UTF-8"
    return None
