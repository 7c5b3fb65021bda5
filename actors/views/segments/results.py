"""A batch that is complete and waits to be published."""

from typing import NamedTuple

from actors.views.segments.runs.run import Run


class Result(NamedTuple):
    """The batch, the number of its completion from 1, and the runs of its segments in their order."""

    epoch: int
    batch_id: int
    order: int
    runs: tuple[Run, ...]
