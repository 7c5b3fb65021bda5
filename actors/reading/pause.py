"""The pause in reading that a checkpoint takes, and when the next one is due. Pure: the clock and the counts are arguments."""

from enum import Enum

from actors.reading.pace import Pace

_LEAST_SHARE = 20
"""Between two checkpoints passes at least this many times the pause for one, so that pauses take a twentieth of the time."""

_LONGEST_S = 0.5
"""A longer pause has another cause: the process or the machine was stopped."""


class _Step(Enum):
    READING = "reading"
    WANTED = "waiting until all is taken in"
    ASKED = "waiting until the live slice has given its state"


class Pause:
    """The pause that a checkpoint takes: wanted, asked for, over; and, some time later, whether it was saved.

    `records` counts the records read so far, `saved_records` those in a checkpoint; None if no checkpoint exists yet.
    `puts` are the batches sent on in this round: an idle one has no records, and may have results.
    """

    def __init__(self, pace: Pace, now: float, saved_records: int | None) -> None:
        self._pace = pace
        self._step = _Step.READING
        self._began_at = self._ended_at = now
        self._asked_records = saved_records or 0
        self._asked_puts = 0
        self._saved = None if saved_records is None else (saved_records, 0)
        self._longest = 0.0
        self._last = self._gave_up = False
        self.saving = False
        """Whether a checkpoint is asked for, and not known to be safe."""

    @property
    def holds(self) -> bool:
        """Whether nothing may be read for now."""
        return self._step is not _Step.READING

    @property
    def wanted(self) -> bool:
        """Whether it is to be asked for as soon as all is taken in."""
        return self._step is _Step.WANTED

    @property
    def first(self) -> bool:
        """Whether there is no checkpoint yet."""
        return self._saved is None

    def unsaved(self, records: int, puts: int) -> bool:
        """Whether something was read, or sent on, of which no checkpoint knows."""
        return (records, puts) != self._saved

    def due(self, now: float, records: int, puts: int) -> bool:
        """Whether it is time for a checkpoint, and worth the pause."""
        since = now - self._ended_at
        if self.saving or not self.unsaved(records, puts) or since < _LEAST_SHARE * self._longest:
            return False
        many = records - self._asked_records >= self._pace.checkpoint_events
        return many or since >= self._pace.checkpoint_s

    def last_due(self, records: int, puts: int) -> bool:
        """Whether one more is worth a try at the end: not where that one could not be saved."""
        return not self.holds and not self.saving and self.unsaved(records, puts) and not self._gave_up

    def want(self, now: float, *, last: bool = False) -> None:
        """Begin the pause, for the last time where nothing more will be read."""
        self._step, self._began_at, self._last = _Step.WANTED, now, last

    def ask(self, records: int, puts: int) -> None:
        """Note that the checkpoint is asked for."""
        self._step, self.saving, self._asked_records, self._asked_puts = _Step.ASKED, True, records, puts

    def proceed(self, now: float) -> None:
        """End the pause. The last one counts most, so that one slow moment is forgotten after a while."""
        if self.holds:
            self._longest = min(_LONGEST_S, max(now - self._began_at, self._longest / 2))
            self._step, self._ended_at = _Step.READING, now

    def settle(self, now: float, *, saved: bool) -> None:
        """Note how the checkpoint ended."""
        self.proceed(now)
        self.saving, self._gave_up = False, self._last and not saved
        if saved:
            self._saved = (self._asked_records, self._asked_puts)
