"""Reads the roles of a poll of JSON records as columns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.record_text import bare, defect, is_utf8
from actors.columns.times import INT64_MAX, INT64_MIN, Times
from actors.records.form import Form
from actors.records.members import Members
from actors.records.roles import Range, Role, Time, UnfitError
from actors.timeline.unit import NAMES, UNITS
from actors.views.view import Records, Refusal

TIME = "time"
_MS = UNITS["ms"]


class Rows(NamedTuple):
    """The roles of the events of a poll, as columns by role, in order of arrival; and the refused records.

    A record that is neither accepted nor refused is of no interest: its name is not one of the known ones.
    """

    columns: Mapping[str, Any]
    accepted: NDArray[np.bool_] | None
    """Which records are events; None if all are."""
    refusals: list[Refusal]


class Reader:
    """Reads records of a `form` as `roles`, by name; with a time in `within` if that is given. Any thread may use it."""

    def __init__(self, form: Form, roles: Mapping[str, Role], within: Range | None = None) -> None:
        self._roles = dict(roles)
        at = {name: form.members[name] for name in roles}
        self._stamps: _Stamps | None = None
        if within is not None:
            assert form.time is not None, "the configuration has a time if the view takes one"
            if form.time.pointer is None:
                self._stamps = _Stamps(form.unit, within)
            else:
                self._roles[TIME] = Time(form.time.unit, form.unit, within)
                at[TIME] = form.time.pointer
        self._fields = [at[name] for name in self._roles]
        self._members = Members(self._fields)
        self._readers = [(role.value, field) for role, field in zip(self._roles.values(), self._fields, strict=True)]

    def read(self, records: Records) -> Rows:
        """Read a poll. Cost: 2 us a record, 4 us a refused one."""
        listed = records.values.listed
        accepted = np.ones(len(listed), np.bool_)
        refusals: list[Refusal] = []
        rows: list[Sequence[Any]] = []
        times, late = (None, {}) if self._stamps is None else self._stamps.read(records)
        for place, value in enumerate(listed):
            read = self._row(value or b"")
            if not isinstance(read, str) and read is not None and place in late:
                read = late[place]
            if isinstance(read, str):
                refusals.append(Refusal(place, read))
                accepted[place] = False
            elif read is None:
                accepted[place] = False
            else:
                rows.append(read)
        own = list(zip(*rows, strict=True)) if rows else [()] * len(self._roles)
        columns = {name: role.column(values) for (name, role), values in zip(self._roles.items(), own, strict=True)}
        if times is not None:
            columns[TIME] = times[accepted]
        return Rows(columns, None if accepted.all() else accepted, refusals)

    def _row(self, record: bytes) -> Sequence[Any] | str | None:
        """Return the values of a record, or the reason of its refusal, or None if it is another one."""
        if not record.isascii() and not is_utf8(record):
            return str(defect(bare(record)))
        try:
            found = self._members.read(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            read = self._read_again(record, error)
            if isinstance(read, str):
                return read
            found = read
        values = []
        for (value_of, field), raw in zip(self._readers, found, strict=True):
            try:
                made = value_of(raw)
            except UnfitError as error:
                return f"{field}: {error}"
            if made is None:
                return None
            values.append(made)
        return values

    def _read_again(self, record: bytes, error: Exception) -> Sequence[bytes] | str:
        """Return the members of a record that has a byte order mark, or the reason of a refusal."""
        text = bare(record)
        if (reason := defect(text)) is not None:
            return reason
        if len(text) != len(record):
            try:
                return self._members.read(text)
            except (msgspec.DecodeError, RecursionError) as next_error:
                error = next_error
        return "too_deep" if isinstance(error, RecursionError) else "not_json"


class _Stamps:
    """Reads the time that a record has in Kafka, in ms, as a number of `unit`."""

    def __init__(self, unit: str, within: Range) -> None:
        self._times, self._divisor = max(1, UNITS[unit] // _MS), max(1, _MS // UNITS[unit])
        self._within = within
        self._expected = f"time: expected a time in Kafka, {within.words.replace('UNIT', NAMES[unit])}"

    def read(self, records: Records) -> tuple[Times, dict[int, str]]:
        """Return the times, and the reasons of refusals by place. The time of a refused record is meaningless."""
        stamps = records.timestamps()
        first = -(-self._within.first * self._divisor // self._times)
        last = (self._within.last * self._divisor + self._divisor - 1) // self._times
        reasons = {}
        for place in np.flatnonzero((stamps < max(first, INT64_MIN)) | (stamps > min(last, INT64_MAX))).tolist():
            got = "a later one" if stamps[place] > last else "nothing" if stamps[place] == -1 else "an earlier one"
            reasons[place] = f"{self._expected}, got {got}"
        times: Times = stamps * self._times // self._divisor
        return times, reasons
