"""Decodes JSON records to columns: the step of each event, and its time."""

from collections.abc import Sequence

from actors.records.form import Form
from actors.records.reader import TIME, Reader
from actors.records.roles import Name, Range
from actors.views.sets.decode import DecodedSets
from actors.views.view import Records

STEP = "step"


class RecordDecoder:
    """Decodes records of a `form` to events of `steps`. Any thread may use it."""

    def __init__(self, steps: Sequence[str], form: Form) -> None:
        self._count = len(steps)
        names = {text.encode(): index for index, step in enumerate(steps) for text in form.names.get(step, (step,))}
        self._reader = Reader(form, {STEP: Name(names)}, Range())

    def decode(self, records: Records) -> DecodedSets:
        """Decode a poll. Cost: as `Reader.read`."""
        rows = self._reader.read(records)
        steps = rows.columns[STEP]
        masks = [steps == step for step in range(self._count)]
        return DecodedSets(rows.columns[TIME], masks, rows.accepted, rows.refusals)
