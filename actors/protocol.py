"""The base of messages, ids, and the type of an actor's address. Imported by `actors.replies` and `actors.messages`.

An address is typed by the messages that its actor accepts, so mypy refuses a message sent to the wrong actor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, ClassVar, NewType, Protocol, TypeVar

import pykka
from msgspec import Struct

QueryId = NewType("QueryId", int)
"""One query in progress at a manager."""

CollectorId = NewType("CollectorId", int)
"""One collector, and the generation that it owns. A generation keeps its id in the files of a checkpoint."""

PublicationId = NewType("PublicationId", int)
"""One result that a manager hands to its publisher: 1, 2, 3, … in a round."""

AttemptId = NewType("AttemptId", int)
"""One attempt of a manager at a checkpoint. An attempt that is given up leaves no file."""

CheckpointId = NewType("CheckpointId", int)
"""One checkpoint on disk. A file's name contains it, and sinks commit it."""

RequestId = NewType("RequestId", int)
"""One request of a front end to its dead letter writer."""

Round = NewType("Round", int)
"""A stream's run from one recovery to the next. Actors ignore messages of an earlier round."""


CONTROL = "control"
"""The home of the managers and of the guardian, which never wait. The gateway's thread may run what it asks of them itself."""


class Home(StrEnum):
    """The threads of a stream. Each actor runs on a named thread, its home. One thread runs one task at a time.

    A collector moves from `ACTIVE` to `AGED` when its slice is frozen.
    """

    READING = "reading"
    ACTIVE = "active"
    AGED = "aged"
    DISK = "disk"
    INPUT = "input"
    OUTPUT = "output"
    DEAD_LETTERS = "dead-letters"

    def of(self, stream: str) -> str:
        """Return the name of this thread of a stream. A stream's name has no slash, so no two streams share a thread."""
        return f"{stream}/{self}"


WAITING_HOMES = frozenset((Home.DISK, Home.INPUT, Home.OUTPUT, Home.DEAD_LETTERS))
"""The threads that may wait for a disk or a broker for minutes. A restart of the process would not help them.

`READING` is not among them: each wait of a source for its broker has a limit of seconds, so a longer task is a defect.
"""


YIELDING_HOMES = frozenset((Home.READING,))
"""The threads that let queries go first: they run whenever a processor is free, and may be delayed without a wrong answer."""


class Lane(Enum):
    """The two queues of a mailbox; each message class names its own as `lane`."""

    CONTROL = "control"
    DATA = "data"


class Message(Struct, frozen=True):
    """The base of every message to an actor. A message is a frozen msgspec Struct: small, quick to make, never validated."""

    lane: ClassVar[Lane]


class Control(Message, frozen=True):
    """The base of messages that overtake data, such as credits, partial answers and stops."""

    lane: ClassVar[Lane] = Lane.CONTROL


class Data(Message, frozen=True):
    """The base of messages that are handled in the order of sending, after all control messages."""

    lane: ClassVar[Lane] = Lane.DATA


@dataclass(frozen=True, slots=True)
class Busy:
    """The reply to any request that was refused or failed, with the reason."""

    reason: str


Accepted_contra = TypeVar("Accepted_contra", bound=Message, contravariant=True)
Reply = TypeVar("Reply")

ReplyTo = Callable[[Reply | Busy], None]
"""Takes the reply to a request, on the thread of the actor that replies. Must not block."""


class Address(Protocol[Accepted_contra]):
    """The address of an actor that accepts messages of the types `Accepted_contra`. Thread-safe."""

    @property
    def actor_class(self) -> type[Any]:
        """The class of the actor."""

    def tell(self, message: Accepted_contra) -> None:
        """Send without waiting. Raises pykka.ActorDeadError if the actor has stopped."""

    def is_alive(self) -> bool:
        """Return whether the actor has not stopped."""

    def stop(self, *, block: bool = True) -> Any:
        """Stop the actor after its present message; with `block`, wait until it has stopped."""


def delivered(to: Address[Accepted_contra], message: Accepted_contra) -> bool:
    """Send a message. Returns False if the actor has stopped: an actor on another thread may stop at any moment."""
    try:
        to.tell(message)
    except pykka.ActorDeadError:
        return False
    return True
