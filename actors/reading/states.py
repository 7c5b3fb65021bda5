"""The states of a front end, and the texts in which it reports them. See docs/states.md for the diagram."""

from collections.abc import Mapping
from enum import Enum

from actors.replies import Troubled


class Phase(Enum):
    """What a front end does now. Each phase has one method of `FrontEnd`, which lists the messages that the phase accepts."""

    DETACHED = "no round has begun: the manager gets `Attached` again and again until it sends `Begin`"
    READING = "polls are read and sent on, as far as credits and dead letters allow"
    PAUSING = "nothing is read, because a checkpoint needs all that was read in the slice"
    FAILED = "nothing is read, because the manager will go back to a checkpoint and send `Begin`"
    DRAINING = "nothing more is read; `Drained` is sent once all that was read is in the slice and in a lasting checkpoint"
    DRAINED = "`Drained` is sent, and the stream's actors are stopped soon"


NO_TOPIC = "it does not exist, or cannot be opened"
"""The reason that a stream gives while its topic or file cannot be opened."""


class Status(Enum):
    """The text for people in `Progress.state`."""

    READING = "reading"
    AT_THE_END = "at the end"
    NO_TOPIC = "waiting for the topic"
    TRANSACTION = "waiting for an open transaction"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    DAMAGED = "damaged"
    STALLED = "stalled"
    NO_CREDIT = "waiting for what is under way"
    DEAD_LETTERS = "waiting for dead letters to be written"
    FAILED = "failed"
    DRAINED = "drained"


IN_TROUBLE: Mapping[Troubled, Status] = {
    "absent": Status.NO_TOPIC,
    "unreachable": Status.UNREACHABLE,
    "refused": Status.REFUSED,
    "damaged": Status.DAMAGED,
    "stalled": Status.STALLED,
}
"""The status while the source gives no records."""


class End(Enum):
    """Whether all existing records are read. An idle batch says so to the slice, and then `on_end` to the owner."""

    OPEN = "events came since the last idle batch"
    CLOSED = "an idle batch is sent"
    REPORTED = "the idle batch is in the slice, and `on_end` was called"
