"""Decodes JSON records to counts by second: the type of each event, its text and its time."""

import numpy as np

from actors.columns.text import Text
from actors.records.form import Form
from actors.records.reader import TIME, Reader
from actors.records.roles import Chars, Range
from actors.views.view import Decoded, Records
from actors.views.words.decode import END_S, FIRST_S, MS, batch_of, counts_of
from actors.views.words.grouping import Pairs, counted, numbered, split

TYPE, TEXT = "type", "text"
_YEARS = Range(FIRST_S * MS, END_S * MS - 1, "in the years 1 to 9999")


class RecordDecoder:
    """Decodes records of a `form` to events. If `alphabetic`, a text must be one word of letters. Any thread may use it."""

    def __init__(self, form: Form, *, alphabetic: bool) -> None:
        self._reader = Reader(form, {TYPE: Chars(), TEXT: Chars(letters=alphabetic)}, _YEARS)

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: as `Reader.read`, and 0.3 us a record for counts; 1 us if its text is not printable ASCII."""
        rows = self._reader.read(records)
        times, kinds, texts = rows.columns[TIME], rows.columns[TYPE], rows.columns[TEXT]
        plain = kinds.printable() & texts.printable()
        types, words = list[Pairs](), list[Pairs]()
        if plain.any():
            seconds = times[plain] // MS
            types.append(counted(*numbered(kinds.only(plain)), seconds))
            owners, found = split(texts.only(plain))
            words.append(counted(*numbered(found), seconds[owners]))
        if not plain.all():
            own_types, own_words = counts_of(times[~plain] // MS, _listed(kinds, ~plain), _listed(texts, ~plain))
            types.append(own_types)
            words.append(own_words)
        return Decoded(times, batch_of(times, types, words), rows.accepted, rows.refusals)


def _listed(text: Text, rows: np.ndarray) -> list[str]:
    return [each.decode() for each in text.take(np.flatnonzero(rows))]
