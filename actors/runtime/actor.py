"""The base of every actor, on Pykka: a two-lane bounded mailbox, a shared pool of threads, and failure as a message.

A handler that raises costs one message, never the actor: the guardian hears of it, and where the actor `suspends`, data waits
until the guardian says `Recover`. Handlers of one actor never run at once. No actor blocks on another.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast

import pykka
from pykka._envelope import Envelope

from actors.messages import Failed, GuardianMessage, Recover, Undelivered
from actors.protocol import Address, Lane, Message
from actors.replies import Busy
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.mailbox import Mailbox

Accepted = TypeVar("Accepted", bound=Message)
Sent = TypeVar("Sent", bound=Message)
Arguments = ParamSpec("Arguments")


@dataclass(slots=True)
class System:
    """What all actors of a process share. The guardian's address is there once the guardian has started.

    `actors` are those that have not stopped; any thread may look at a copy. `trace` is entered around what takes long.
    """

    dispatcher: Dispatcher
    guardian: Address[GuardianMessage] | None = None
    actors: "set[Actor[Any]]" = field(default_factory=set)
    trace: Callable[[str], AbstractContextManager[Any]] = nullcontext


class Actor(pykka.Actor, Generic[Accepted]):
    """An actor of one stream, which accepts messages of the types `Accepted`.

    Subclasses implement `receive`, and `recover` if they suspend.
    """

    suspends: ClassVar[bool] = False
    """Whether a failure at a data message holds back further data until `Recover`."""

    turn: ClassVar[int] = 16
    """Messages that it handles before another actor of its home gets the thread."""

    capacity: ClassVar[dict[Lane, int]] = {Lane.CONTROL: 4096, Lane.DATA: 256}

    def __init__(self, system: System, *, stream: str) -> None:
        self.system = system
        self.stream = stream
        super().__init__()
        system.actors.add(self)

    @property
    def address(self) -> Address[Accepted | Recover]:
        """Where others send messages to."""
        return self.actor_ref

    @property
    def name(self) -> str:
        """What people know the actor by."""
        return type(self).__name__

    @property
    def home(self) -> str:
        """Which thread it runs on. May change between two turns."""
        return "control"

    @property
    def state(self) -> str:
        """In which of its states it is, where it has some. Read by other threads."""
        return ""

    @property
    def counted(self) -> Mapping[str, int]:
        """What it has done since it began, by name. Read by other threads: single numbers, which only grow."""
        return {}

    @property
    def mailbox(self) -> Mailbox:
        """Its mailbox, to be looked at."""
        return self._mailbox

    @property
    def healer(self) -> Address[Recover]:
        """Who is told to recover, in time, when this actor has failed and waits."""
        return self.address

    def receive(self, message: Accepted) -> None:
        """Handle one message, on one of the dispatcher's threads. May raise; must not block."""
        raise NotImplementedError

    def recover(self) -> None:
        """Prepare to go on after a failure, before held data comes."""

    def on_receive(self, message: Accepted | Recover) -> None:
        """Handle a message that is none of Pykka's own."""
        if isinstance(message, Recover):
            self.recover()
            self._mailbox.release()
        else:
            self.receive(message)

    def send(self, to: Address[Sent] | None, message: Sent) -> None:
        """Send without waiting. To an actor that has stopped: a dead letter."""
        if to is not None and not _told(to, message):
            self._undelivered(message, f"{to.actor_class.__name__} has stopped")

    def later(self, seconds: float, to: Address[Sent], message: Sent) -> None:
        """Send once `seconds` have passed."""
        self.system.dispatcher.later(seconds, lambda: self.send(to, message), self.home)

    def _undelivered(self, message: Message, reason: str) -> None:
        guardian = self.system.guardian
        if guardian is not None and not isinstance(message, Undelivered):
            _told(guardian, Undelivered(self.stream, self.name, type(message).__name__, reason))

    # Pykka's hooks ---------------------------------------------------------------------------------------------------

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]  # Pykka calls it on the instance
        self._mailbox = Mailbox(self.capacity, self._wake, self._refuse)
        return self._mailbox

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self.system.dispatcher.submit(self._begin, self.home)

    def _begin(self) -> None:
        self._guarded(self.on_start, "start")
        self._mailbox.rest()

    def _wake(self) -> None:
        self.system.dispatcher.submit(self._turn, self.home)

    def _turn(self) -> None:
        """Handle some messages, then give the thread away."""
        for _ in range(self.turn):
            if self.actor_stopped.is_set() or self._mailbox.empty():
                break
            self._handle(self._mailbox.get())
        if self.actor_stopped.is_set():
            self.system.actors.discard(self)
            for envelope in self._mailbox.close():
                self._refuse(envelope, "the actor has stopped")
        else:
            self._mailbox.rest()

    def _handle(self, envelope: Envelope[Any]) -> None:
        message = envelope.message
        done = self._guarded(lambda: self._handle_receive(message), type(message).__name__, message)
        if envelope.reply_to is not None:
            envelope.reply_to.set(done)

    def _guarded(self, action: Callable[[], None], kind: str, message: Message | None = None) -> bool:
        """Run `action`; a failure becomes a message to the guardian. Returns whether it went well."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  # the point of a guarded actor: nothing but the message is lost
            further = self._noticed(message, error)
            # A recovery that fails is tried again: data is held back still, and nobody else would let it go on.
            held = self.must_wait(message) or (self.suspends and isinstance(message, Recover))
            if held:
                self._mailbox.hold()
            self._tell_guardian(kind, error, held=held)
            if further is not None:
                self._tell_guardian("notice", further, held=False)
            return False
        return True

    def _noticed(self, message: Message | None, error: Exception) -> Exception | None:
        """Give notice of a failure. Returns what goes wrong at that: it must not end the thread, which others share."""
        try:
            if message is not None:
                self.failed(message, error)
        except Exception as further:  # noqa: BLE001  # told to the guardian as well
            return further
        return None

    def _tell_guardian(self, kind: str, error: Exception, *, held: bool) -> None:
        if self.system.guardian is not None:
            _told(self.system.guardian, Failed(self.healer, self.stream, self.name, kind, error, held))

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure at `message` holds back data until `Recover`."""
        return self.suspends and getattr(message, "lane", Lane.DATA) is Lane.DATA

    def failed(self, message: Message, error: Exception) -> None:
        """Give notice to who waits for the outcome of `message`. Overridden where somebody does."""

    def _refuse(self, envelope: Envelope[Any], reason: str) -> None:
        message = envelope.message
        if envelope.reply_to is not None:
            envelope.reply_to.set(None)
        if isinstance(message, pykka.messages._ActorStop):  # noqa: SLF001  # Pykka's own way to say stop
            return
        reply_to = getattr(message, "reply_to", None)
        if reply_to is not None:
            reply_to(Busy(reason))
        self._undelivered(message, reason)


def start(
    actor: Callable[Concatenate[System, Arguments], Actor[Sent]],
    system: System,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Address[Sent | Recover]:
    """Start an actor of the class `actor`, and return its address. The other arguments are those of its `__init__`."""
    address: Address[Sent | Recover] = cast("type[Actor[Sent]]", actor).start(system, *args, **kwargs)
    return address


def _told(to: Address[Sent], message: Sent) -> bool:
    """Send a message. Whether there was an actor to take it: one on another thread may stop at any moment."""
    try:
        to.tell(message)
    except pykka.ActorDeadError:
        return False
    return True
