"""The parts of an unfinished checkpoint, from the front end, the live slice, the sinks and the keeper."""

from dataclasses import dataclass, field
from typing import Any

from actors.collecting.collector import Collector
from actors.columns.snapshot import State
from actors.protocol import AttemptId


@dataclass(slots=True)
class Assembly:
    """The parts of one attempt at a checkpoint. The parts of manager and live slice are of the same moment."""

    attempt_id: AttemptId
    front_end: State
    places: tuple[Any, ...] | None
    live: State | None = None
    manager: State = None
    aged: list[Collector] = field(default_factory=list)

    @property
    def taken(self) -> bool:
        """Whether every part that the next event may change has arrived."""
        return self.live is not None and self.places is not None

    def unwritten(self) -> list[Collector]:
        """Return the generations that are in no file yet."""
        return [each for each in self.aged if each.name is None]

    def names(self) -> frozenset[str]:
        """Return the files of its generations."""
        return frozenset(each.name for each in self.aged if each.name is not None)

    def state(self) -> State:
        """Return the checkpoint's state, as the keeper writes it."""
        aged = []
        for each in self.aged:
            span = each.meta.span
            aged.append(
                (
                    each.collector_id,
                    each.name,
                    span and span.start,
                    span and span.end,
                    each.meta.events,
                    each.file_bytes,
                    each.spilled,
                )
            )
        return {**self.manager, "front_end": self.front_end, "live": self.live, "places": self.places, "aged": aged}
