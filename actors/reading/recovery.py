"""What a front end does about a failure: the one place that asks whether the stream has checkpoints."""

from abc import ABC, abstractmethod
from typing import ClassVar

from actors.messages import Watch
from actors.protocol import Lane, Message
from actors.reading.pace import Pace
from actors.reading.pause import NoPause, Pause


class Recovery(ABC):
    """The consequences of a failure. `of` chooses between the two kinds."""

    goes_back: ClassVar[bool]
    """Whether the manager goes back to a checkpoint, so that nothing of the failed round counts.

    Otherwise the state in memory goes on, and the effect of each lost message must be made up for.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    @staticmethod
    def of(pace: Pace) -> "Recovery":
        """Return the kind of recovery for a stream with this pace."""
        return InMemory(pace) if pace.checkpoint_s is None else ByCheckpoint(pace)

    @abstractmethod
    def in_doubt(self, message: Message | None) -> bool:
        """Whether a failure at `message`, or at the start if it is None, may leave wrong counts. Then data is held back."""

    @abstractmethod
    def pause(self, now: float, saved_records: int | None) -> Pause:
        """Return the pause of a round that begins `now` from a checkpoint of `saved_records`, or from nothing (None)."""


class InMemory(Recovery):
    """Without checkpoints: reading goes on with the state in memory, so only data messages leave it in doubt."""

    goes_back = False

    def in_doubt(self, message: Message | None) -> bool:
        """Whether `message` is data: a poll, or the start."""
        return getattr(message, "lane", Lane.DATA) is Lane.DATA  # Pykka's own messages have no lane

    def pause(self, now: float, saved_records: int | None) -> Pause:
        """Return a pause that is never due."""
        return NoPause(self._pace, now, saved_records)


class ByCheckpoint(Recovery):
    """With checkpoints: a failure at a credit leaves counts in doubt as a failure at a poll does."""

    goes_back = True

    def in_doubt(self, message: Message | None) -> bool:
        """Whether `message` changes anything: all but `Watch` do."""
        return not isinstance(message, Watch)

    def pause(self, now: float, saved_records: int | None) -> Pause:
        """Return the pause of a round."""
        return Pause(self._pace, now, saved_records)
