"""The results that readers of a sink see, and which checkpoint fits them.

A sink reads its standing, and the keeper chooses a checkpoint by it. A value in messages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class Standing(Struct, frozen=True):
    """The results that readers of a sink see. A checkpoint *fits* if its results are exactly these.

    `checkpoint` is the largest number that the sink has seen; further checkpoints get larger numbers. `mark` identifies the
    last record; None if no record is committed. If `numbered` is set, an earlier version committed that checkpoint, without a
    mark. `process` committed last, for the checkpoints in the folder `meaning`. `recorded` is false if the sink has no record
    of any commit; `lost` is true if the number of the last commit is lost, and the results themselves prove the commit.
    `force`: load a checkpoint that does not fit if there is no other.
    """

    topic: str
    checkpoint: int
    mark: str | None
    meaning: str = ""
    process: str = ""
    recorded: bool = True
    lost: bool = False
    numbered: int | None = None
    force: bool = False

    def place_in(self, places: Sequence[Any]) -> Mapping[str, Any] | None:
        """Return the place of this sink among those of a checkpoint; None if its results went to other sinks only."""
        for place in places:
            if isinstance(place, dict) and (place.get("topic") == self.topic or place.keys() == {"written"}):
                return place
        return None

    def fits(self, number: int, places: Sequence[Any]) -> bool:
        """Return whether readers see exactly the results of checkpoint `number`."""
        if self.numbered is not None:
            return number == self.numbered
        return mark_of(self.place_in(places) or {}) == self.mark


def mark_of(place: Mapping[str, Any]) -> str | None:
    """Return what identifies the last record before `place`; None without a record. Earlier versions wrote its number only.

    >>> mark_of({"written": 9}), mark_of({"written": 9, "mark": "3fa2-1"}), mark_of({"written": 0})
    ('written 9', '3fa2-1', None)
    """
    if "mark" in place:
        mark: str | None = place["mark"]
        return mark
    return f"written {place['written']}" if place.get("written") else None
