"""Decodes records such as `{"event_type": "baz", "data": "lorem ipsum", "timestamp": 1513765893}` to counts by second.

Used by the front end, a whole poll at a time. Records of one shape are read as columns (`actors.columns.json`), the others by a
JSON parser. An invalid record is refused with one of a few reasons.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from operator import attrgetter

import msgspec
import numpy as np

from actors.columns.json.alike import Alike, Group
from actors.columns.record_text import bare, defect, other_form
from actors.columns.times import NO_TIMES, Times
from actors.columns.utf8 import text_only
from actors.columns.values import Values
from actors.views.view import Decoded, Records, Refusal
from actors.views.words.grouping import Pairs, counted, numbered, split

MS = 1_000
"""Milliseconds of a second. All counts are by second."""

FIRST_S = -62_135_596_800
END_S = 253_402_300_800
"""The accepted timestamps: the years 1 to 9999. A float holds their milliseconds without loss."""


class _Event(msgspec.Struct, gc=False):
    event_type: str
    data: str
    timestamp: float


class _Members(msgspec.Struct):
    """The same members, not parsed. Used to find the reason of a refusal."""

    event_type: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()


_read = msgspec.json.Decoder(_Event).decode
_members = msgspec.json.Decoder(_Members).decode
_any_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OTHER = other_form("event_type", "data", "timestamp")
_type_of = attrgetter("event_type")
_data_of = attrgetter("data")
_timestamp_of = attrgetter("timestamp")
_NO_EVENT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)
_ALIKE = Alike(_read, _NO_EVENT, texts=("event_type", "data"), numbers=("timestamp",), below=END_S)


@dataclass(frozen=True, slots=True, eq=False)
class WordBatch:
    """The counts of one poll: types and words by second. `earliest` and `latest` are in ms, None without events.

    `types` and `words` have one or more parts, whose names may be the same.
    """

    count: int
    types: tuple[Pairs, ...]
    words: tuple[Pairs, ...]
    earliest: int | None
    latest: int | None

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(names)."""
        return sum(pairs.nbytes for pairs in (*self.types, *self.words))

    def first(self) -> int | None:
        """Return the time of the earliest event, ms."""
        return self.earliest

    def last(self) -> int | None:
        """Return the time of the latest event, ms."""
        return self.latest


def decode(records: Records, *, alphabetic: bool = False) -> Decoded:
    """Decode one poll. Times are in ms, rounded down.

    Other members are ignored. Words are the result of `str.split()` for `data`. Unpaired surrogates are refused as invalid
    JSON. If `alphabetic`, an event is refused unless its `data` is one word of letters (`str.isalpha`).
    Cost: 0.5 us a record of a common shape, 1 us another record, 2 us a refused record.
    """
    values = records.values
    groups, rest = _ALIKE.groups(values)
    if not groups:
        return _parsed(values, alphabetic=alphabetic)
    if alphabetic:
        groups, rest = _of_letters(groups, rest)
    times = np.empty(len(values), np.int64)
    types, words = list[Pairs](), list[Pairs]()
    for group in groups:
        seconds = group.numbers["timestamp"]
        times[group.rows] = seconds * MS
        types.append(counted(*numbered(group.texts["event_type"]), seconds))
        rows, found = split(group.texts["data"])
        words.append(counted(*numbered(found), seconds[rows]))
    accepted, refusals = None, list[Refusal]()
    if rest.size:
        others = _parsed(values.part(rest), alphabetic=alphabetic)
        types += others.batch.types
        words += others.batch.words
        times[rest if others.accepted is None else rest[others.accepted]] = others.times
        if others.accepted is not None:
            accepted = np.ones(len(values), np.bool_)
            accepted[rest] = others.accepted
            times = times[accepted]
            refusals = [Refusal(int(rest[refusal.place]), refusal.reason) for refusal in others.refusals]
    return Decoded(times, batch_of(times, types, words), accepted, refusals)


def _of_letters(groups: list[Group], rest: Times) -> tuple[list[Group], Times]:
    """Return the groups without the records whose `data` is not one word of letters, and `rest` with them."""
    left, others = list[Group](), [rest]
    for rows, texts, numbers in groups:
        names, own = numbered(texts["data"])
        fits = np.fromiter(map(str.isalpha, names), np.bool_, len(names))[own]
        others.append(rows[~fits])
        some = {name: text.only(fits) for name, text in texts.items()}
        left.append(Group(rows[fits], some, {name: column[fits] for name, column in numbers.items()}))
    return left, np.sort(np.concatenate(others))


def _parsed(records: Values, *, alphabetic: bool) -> Decoded:
    """Decode records with the JSON parser."""
    values = records.listed
    events: list[_Event] = []
    refusals: list[Refusal] = []
    rest = iter(text_only(values))
    read = False
    while not read:
        try:
            # `extend` keeps the events before an error. Each value consumed so far is an event or a refusal.
            events.extend(map(_read, rest))  # type: ignore[arg-type]  # a tombstone is a TypeError
            read = True
        except _NO_EVENT as error:
            place = len(events) + len(refusals)
            read_again = _read_again(values[place], error)
            if isinstance(read_again, str):
                refusals.append(Refusal(place, read_again))
            else:
                events.append(read_again)
    accepted = None
    if refusals:
        accepted = np.ones(len(values), np.bool_)
        accepted[[refusal.place for refusal in refusals]] = False
    stamps = np.fromiter(map(_timestamp_of, events), np.float64, len(events))
    in_range = fits = (stamps >= FIRST_S) & (stamps < END_S)
    if alphabetic:
        fits = in_range & np.fromiter(map(str.isalpha, map(_data_of, events)), np.bool_, len(events))
    if not fits.all():
        accepted = np.ones(len(values), np.bool_) if accepted is None else accepted
        places = np.flatnonzero(accepted)[~fits]
        accepted[places] = False
        reasons = np.where(in_range[~fits], "not_alphabetic", "timestamp_out_of_range").tolist()
        refusals = sorted([*refusals, *map(Refusal, places.tolist(), reasons)])
        events = [events[index] for index in np.flatnonzero(fits).tolist()]
        stamps = stamps[fits]
    times = np.floor(stamps * MS).astype(np.int64) if events else NO_TIMES
    return Decoded(times, _counted(times, events), accepted, refusals)


def _counted(times: Times, events: list[_Event]) -> WordBatch:
    """Count `events`, at `times`, by second."""
    if not events:
        return batch_of(times, [], [])
    types, words = counts_of(times // MS, list(map(_type_of, events)), map(_data_of, events))
    return batch_of(times, [types], [words])


def counts_of(seconds: Times, kinds: Sequence[str], texts: Iterable[str]) -> tuple[Pairs, Pairs]:
    """Return the counts of the types, and of the words of the texts, of events at `seconds`. Cost: 0.5 us an event."""
    types = _Names()
    numbers = np.fromiter(map(types.__getitem__, kinds), np.int64, len(kinds))
    words = _Names()
    found = list(map(str.split, texts))
    sizes = np.fromiter(map(len, found), np.int64, len(found))
    occurrences = np.fromiter(map(words.__getitem__, chain.from_iterable(found)), np.int64, int(sizes.sum()))
    return counted(list(types), numbers, seconds), counted(list(words), occurrences, np.repeat(seconds, sizes))


class _Names(defaultdict[str, int]):
    """The numbers of names, in order of appearance. A lookup of a new name assigns the next number to it."""

    def __init__(self) -> None:
        super().__init__(count().__next__)


def batch_of(times: Times, types: Sequence[Pairs], words: Sequence[Pairs]) -> WordBatch:
    """Return the batch of events at `times`, ms, with these counts."""
    if not times.size:
        return WordBatch(0, (), (), None, None)
    return WordBatch(times.size, tuple(types), tuple(words), int(times.min()), int(times.max()))


def _read_again(value: bytes | None, error: Exception) -> _Event | str:
    """Return the event of a record that has a byte order mark, or the reason of a refusal: the first one that applies."""
    record = bare(value or b"")
    if (reason := defect(record.strip())) is not None:
        return reason
    if len(record) != len(value or b""):
        try:
            return _read(record)
        except (msgspec.DecodeError, RecursionError) as next_error:
            error = next_error
    return _reason(record, error)


def _reason(value: bytes, error: Exception) -> str:
    """Return the reason of the refusal of a record that is text."""
    if isinstance(error, RecursionError):
        return "too_deep"
    if not isinstance(error, msgspec.ValidationError):
        return "not_json"
    try:
        members = _members(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "wrong_type"
    missing = [
        name
        for name, member in (("event_type", members.event_type), ("data", members.data), ("timestamp", members.timestamp))
        if not bytes(member)
    ]
    if missing:
        return _OTHER if len(missing) == 3 and _any_members(value) else f"no_{missing[0]}"
    is_number = bytes(members.timestamp)[:1] in b"-0123456789"
    is_text = bytes(members.event_type)[:1] == bytes(members.data)[:1] == b'"'
    return "timestamp_out_of_range" if is_number and is_text else "wrong_type"
