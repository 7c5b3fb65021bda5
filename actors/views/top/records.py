"""Decodes JSON records to columns: an id and its value. A tombstone and a clear are as in any topic of `top`."""

import numpy as np

from actors.columns.text import Text
from actors.records.form import Form
from actors.records.moments import Mask
from actors.records.reader import Reader
from actors.records.roles import Key, Whole
from actors.records.values import NUMBER, TEXT, kind_of, text_of
from actors.views.top.arguments import CLEAR_KEYS, CLEAR_VALUE, LONGEST
from actors.views.top.decode import NO_TOMBSTONES, Tombstones, Upserts, places
from actors.views.view import Decoded, Records, Refusal

ID, VALUE = "id", "value"


class Id(Key):
    """An id: text in one line, or a whole number, which is the id of its digits."""

    expected = "text in one line of at most 65,536 bytes, or a whole number of 64 bits"

    def value(self, raw: bytes) -> bytes:
        """Return the id as text in UTF-8."""
        kind = kind_of(raw)
        if kind == NUMBER:
            return super().value(raw)
        if kind != TEXT:
            raise self.unfit(kind)
        if (defect := _defect(text := text_of(raw))) is not None:
            raise self.unfit(defect)
        return text

    def of_number(self, number: int) -> bytes:
        """Return the id that a number is: its digits."""
        return b"%d" % number

    def of_text(self, texts: Text) -> tuple[Text, Mask]:
        """See the base."""
        return texts, texts.lengths <= LONGEST


class RecordDecoder:
    """Decodes records of a `form` to values of ids. Any thread may use it."""

    def __init__(self, form: Form) -> None:
        self._reader = Reader(form, {ID: Id(), VALUE: Whole()})

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: as `Reader.read`."""
        rows = self._reader.read(records)
        count = len(records.values)
        plain = np.ones(count, np.bool_) if rows.accepted is None else rows.accepted
        times, place = records.timestamps(), places(records.partitions, records.offsets(), records.epoch)
        clears, deletes = np.zeros((2, count), np.bool_)
        deleted: list[bytes] = []
        refusals = []
        for refusal in rows.refusals:
            index = refusal.place
            value, key = records.values[index], records.key_of(index)
            if value == CLEAR_VALUE and key in CLEAR_KEYS:
                clears[index] = True
            elif value is None and key is not None and (reason := _defect_of_key(key)) is None:
                deletes[index] = True
                deleted.append(key)
            else:
                refusals.append(Refusal(index, reason) if value is None and key is not None and reason else refusal)
        upserts = Upserts(
            rows.columns[ID],
            rows.columns[VALUE],
            times[plain],
            place[plain],
            place[clears],
            Tombstones(Text.of(deleted), place[deletes]) if deleted else NO_TOMBSTONES,
        )
        accepted = plain | clears | deletes
        return Decoded(times[accepted], upserts, accepted if refusals else None, refusals)


def _defect(text: bytes) -> str | None:
    """Return what is wrong with a text as an id, or None."""
    if len(text) > LONGEST:
        return "longer text"
    return None if _is_line(text) else "text with control characters"


def _is_line(text: bytes) -> bool:
    return min(text, default=ord(" ")) >= ord(" ")


def _defect_of_key(key: bytes) -> str | None:
    """Return why the key of a tombstone is no id, or None if it is one."""
    try:
        key.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    return None if _defect(key) is None else "white_space"
