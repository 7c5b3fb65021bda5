"""Reads the roles of a poll of records as columns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.json.alike import Alike, Group
from actors.columns.json.scan import MAX_DIGITS
from actors.columns.record_text import bare, defect, is_utf8
from actors.columns.text import Text
from actors.columns.times import INT64_MAX, INT64_MIN, NO_TIMES, Times
from actors.columns.values import Values
from actors.records.encoding import FieldsReader, UnreadableError
from actors.records.form import Form
from actors.records.members import Members, tokens_of
from actors.records.roles import NO_NAME, Name, Range, Role, Time, UnfitError
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


class _Part(NamedTuple):
    """Some records of a poll: the places and the columns of those that are events, the places of others and of those left."""

    rows: Times
    columns: dict[str, Any]
    others: Times
    left: Times


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
        if form.encoding is None:
            self._members: FieldsReader = Members(self._fields)
            self._alike = self._alike_of(at)
            self._found = self._in_json
        else:
            self._members, self._alike = form.encoding.members(self._fields), None
            self._found = self._decoded
        self._readers = [(role.value, field) for role, field in zip(self._roles.values(), self._fields, strict=True)]

    def read(self, records: Records) -> Rows:
        """Read a poll. Cost: 0.4 us a record of a common shape, 2 us another one, 4 us a refused one; more if it is not JSON.

        Raises UnreadyError if a schema is not known yet.
        """
        values = records.values
        times, late = (None, {}) if self._stamps is None else self._stamps.read(records)
        parts, left = list[_Part](), np.arange(len(values))
        if self._alike is not None and not late:
            groups, left = self._alike.groups(values)
            parts = [self._of_group(group) for group in groups]
            left = np.sort(np.concatenate([left, *(part.left for part in parts)]))
        accepted = np.ones(len(values), np.bool_)
        refusals: list[Refusal] = []
        if left.size or not parts:
            parts.append(self._one_by_one(values, left, late, refusals))
        for part in parts:
            accepted[part.others] = False
        accepted[[refusal.place for refusal in refusals]] = False
        order = np.concatenate([part.rows for part in parts])
        columns = {name: _ordered([part.columns[name] for part in parts], order) for name in self._roles}
        if times is not None:
            columns[TIME] = times[accepted]
        return Rows(columns, None if accepted.all() else accepted, refusals)

    def _alike_of(self, at: Mapping[str, str]) -> Alike | None:
        """Return the reader of records of one shape; None if a role reads no columns."""
        if not all(role.takes_text or role.takes_numbers for role in self._roles.values()):
            return None
        return Alike(
            self._sample,
            (UnfitError,),
            texts=[name for name, role in self._roles.items() if role.takes_text],
            numbers=[name for name, role in self._roles.items() if role.takes_numbers],
            below=10**MAX_DIGITS,
            at={name: tokens_of(pointer) for name, pointer in at.items()},
        )

    def _sample(self, record: bytes) -> None:
        """Raise UnfitError if a record is refused."""
        if isinstance(read := self._row(record), str):
            raise UnfitError(read, "this")

    def _of_group(self, group: Group) -> "_Part":
        """Read records of one shape. Values that are no usual ones are left."""
        rows = group.rows
        other, fits = np.zeros(rows.size, np.bool_), np.ones(rows.size, np.bool_)
        columns = {}
        for name, role in self._roles.items():
            read = role.of_text(group.texts[name]) if name in group.texts else role.of_numbers(group.numbers[name])
            columns[name], good = read
            fits &= good
            if isinstance(role, Name):
                other |= columns[name] == NO_NAME
        taken = fits & ~other
        if not taken.all():
            columns = {name: _only(column, taken) for name, column in columns.items()}
        return _Part(rows[taken], columns, rows[other], rows[~fits & ~other])

    def _one_by_one(self, values: Values, places: Times, late: Mapping[int, str], refusals: list[Refusal]) -> "_Part":
        """Read records at `places` with the parser. Adds those that are refused to `refusals`."""
        listed = (values if places.size == len(values) else values.part(places)).listed
        rows, others = list[int](), list[int]()
        found: list[Sequence[Any]] = []
        for place, value in zip(places.tolist(), listed, strict=True):
            read = self._row(value or b"")
            if not isinstance(read, str) and read is not None and place in late:
                read = late[place]
            if isinstance(read, str):
                refusals.append(Refusal(place, read))
            elif read is None:
                others.append(place)
            else:
                rows.append(place)
                found.append(read)
        own = list(zip(*found, strict=True)) if found else [()] * len(self._roles)
        columns = {name: role.column(column) for (name, role), column in zip(self._roles.items(), own, strict=True)}
        return _Part(np.array(rows, np.int64), columns, np.array(others, np.int64), NO_TIMES)

    def _row(self, record: bytes) -> Sequence[Any] | str | None:
        """Return the values of a record, or the reason of its refusal, or None if it is another one."""
        if isinstance(found := self._found(record), str):
            return found
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

    def _decoded(self, record: bytes) -> Sequence[bytes] | str:
        """Return the members of a record that is not JSON, or the reason of its refusal."""
        if not record:
            return "empty"
        try:
            return self._members.read(record)
        except UnreadableError as error:
            return str(error)

    def _in_json(self, record: bytes) -> Sequence[bytes] | str:
        """Return the members of a JSON record, or the reason of its refusal."""
        if not record.isascii() and not is_utf8(record):
            return str(defect(bare(record)))
        try:
            return self._members.read(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._read_again(record, error)

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


def _only(column: Any, rows: NDArray[np.bool_]) -> Any:
    return column.only(rows) if isinstance(column, Text) else column[rows]


def _ordered(columns: Sequence[Any], order: Times) -> Any:
    """Return columns of several parts as one, in the order of the places `order` that its values have."""
    if len(columns) == 1:
        return columns[0]
    places = np.argsort(order)
    if isinstance(columns[0], Text):
        return Text.joining(columns).only(places)
    return np.concatenate(columns)[places]
