"""What every message has: a lane of the mailbox it travels in, and typed addresses of actors and of replies.

Imported by `actors.replies` and `actors.messages`, which list the messages themselves.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import pykka


class Lane(Enum):
    """Which of a mailbox's two queues a message goes to; each message class says it as `lane`."""

    CONTROL = "control"
    DATA = "data"


Address = pykka.ActorRef[Any]
ReplyTo = Callable[[Any], None]
"""Takes the reply, on the thread of the actor that gives it; must not block."""

Message = Any


class Control:
    """The base of messages that overtake data, such as credits, queries' partial answers and stops."""

    lane: ClassVar[Lane] = Lane.CONTROL


class Data:
    """The base of messages that are handled in the order in which they were sent, after all control messages."""

    lane: ClassVar[Lane] = Lane.DATA
