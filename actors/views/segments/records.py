"""Decodes JSON records to runs of numbers: the batch and the number of each segment, and its data."""

from collections.abc import Sequence

import numpy as np

from actors.records.form import Form
from actors.records.reader import Reader
from actors.records.roles import Role, Whole
from actors.records.values import kind_of
from actors.views.segments.decode import UNREADABLE, Found, content_of
from actors.views.segments.runs.run import Run
from actors.views.segments.runs.spool import Spool
from actors.views.view import Decoded, Records

BATCH, SEGMENT, DATA = "batch", "segment", "data"
_LIST = "a list"
_UNSORTED = "numbers that do not ascend"


class Numbers(Role):
    """A list of whole numbers of 64 bits, written as digits: a run if it is long, else its numbers as int64 bytes."""

    expected = "an ascending list of whole numbers of 64 bits"

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def value(self, raw: bytes) -> bytes | Run:
        """Return the numbers. Cost: 90 ns a number, 170 ns of a long list. Raises OSError if the spool has no room."""
        kind = kind_of(raw)
        if kind != _LIST:
            raise self.unfit(kind)
        try:
            content = content_of(raw, self._spool)
        except UNREADABLE:
            raise self.unfit("a list with other values") from None
        if content is None:
            raise self.unfit(_UNSORTED)
        return content

    def column(self, values: Sequence[bytes | Run]) -> list[bytes | Run]:
        """Return the contents as a list."""
        return list(values)


class RecordDecoder:
    """Decodes records of a `form` to segments with numbers from 0 to `segments` - 1. Any thread may use it."""

    def __init__(self, form: Form, segments: int, spool: Spool) -> None:
        self._reader = Reader(form, {BATCH: Whole(), SEGMENT: Whole(0, segments - 1), DATA: Numbers(spool)})
        self._unsorted = f"{form.members[DATA]}: expected {Numbers.expected}, got {_UNSORTED}"

    def decode(self, records: Records) -> Decoded:
        """Decode a poll. Cost: as `Reader.read`, and 100 ns a number. Raises OSError if the spool has no room."""
        rows = self._reader.read(records)
        count = len(records.values)
        places = range(count) if rows.accepted is None else np.flatnonzero(rows.accepted).tolist()
        found = Found(self._unsorted)
        found.refusals += rows.refusals
        batches, segments = rows.columns[BATCH].tolist(), rows.columns[SEGMENT].tolist()
        for place, batch, segment, content in zip(places, batches, segments, rows.columns[DATA], strict=True):
            found.add(place, batch, segment, content)
        return found.decoded(count, records.epoch)
