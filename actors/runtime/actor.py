"""The base of every actor, on Pykka: a two-lane bounded mailbox, a shared pool of threads, and failure as a message.

A handler that raises loses one message and does not stop the actor. The guardian receives `Failed`. If the actor `suspends`,
its data waits until the guardian sends `Recover`. The handlers of one actor never run concurrently. No actor waits for another.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast

import pykka
from pykka._envelope import Envelope

from actors.messages import Failed, GuardianMessage, Recover, Undelivered
from actors.protocol import CONTROL, Address, Lane, Message, delivered
from actors.replies import Busy
from actors.runtime.dispatcher import Dispatcher, Timer
from actors.runtime.mailbox import Mailbox

Accepted = TypeVar("Accepted", bound=Message)
Sent = TypeVar("Sent", bound=Message)
Arguments = ParamSpec("Arguments")


@dataclass(slots=True)
class System:
    """The parts that all actors of a process share. `guardian` is None until the guardian has started.

    `actors` are the actors that have not stopped; another thread must copy the set first. `trace` is entered around slow steps.
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
    """Whether a failure at a data message holds further data back until `Recover`."""

    turn: ClassVar[int] = 16
    """The number of messages that it handles before another actor on the same thread gets its turn."""

    capacity: ClassVar[dict[Lane, int]] = {Lane.CONTROL: 4096, Lane.DATA: 256}

    def __init__(self, system: System, *, stream: str) -> None:
        self.system = system
        self.stream = stream
        super().__init__()

    @property
    def address(self) -> Address[Accepted | Recover]:
        """The actor's address."""
        return self.actor_ref

    @property
    def name(self) -> str:
        """The actor's name in logs and dead letters."""
        return type(self).__name__

    @property
    def home(self) -> str:
        """The name of the thread that it runs on. May change between two turns."""
        return CONTROL

    @property
    def state(self) -> str:
        """The actor's state for metrics, such as `aged`; empty if the class has no states. Read by other threads."""
        return ""

    @property
    def counted(self) -> Mapping[str, int]:
        """The actor's counters for metrics, by name; they only grow. Read by other threads."""
        return {}

    @property
    def mailbox(self) -> Mailbox:
        """The actor's mailbox, for metrics."""
        return self._mailbox

    @property
    def healer(self) -> Address[Recover]:
        """The actor that the guardian sends `Recover` to after a failure that holds data back."""
        return self.address

    def receive(self, message: Accepted) -> None:
        """Handle one message, on one of the dispatcher's threads. May raise; must not block."""
        raise NotImplementedError

    def recover(self) -> None:
        """Prepare to resume after a failure. Held data is released after this returns."""

    def on_receive(self, message: Accepted | Recover) -> None:
        """Handle a message; called by Pykka."""
        if isinstance(message, Recover):
            self.recover()
            self._mailbox.release()
        else:
            self.receive(message)

    def send(self, to: Address[Sent] | None, message: Sent) -> None:
        """Send without waiting. No effect if `to` is None.

        If the actor has stopped, the message becomes a dead letter, and the reply to a request is `Busy`, on this thread.
        """
        if to is not None and not delivered(to, message):
            self._return(message, f"{to.actor_class.__name__} has stopped")

    def later(self, seconds: float, to: Address[Sent], message: Sent) -> Timer:
        """Send once `seconds` have passed, unless it is cancelled.

        A message to itself is dropped if the actor has stopped by then. A message that is of no use any more should be
        cancelled: it would wake two threads, 0.1 ms of processor time.
        """

        def send() -> None:
            if not (to is self.address and self.actor_stopped.is_set()):
                self.send(to, message)

        delayed = Timer(send)
        self.system.dispatcher.later(seconds, delayed, self.home)
        return delayed

    def _undelivered(self, message: Message, reason: str) -> None:
        guardian = self.system.guardian
        if guardian is not None and not isinstance(message, Undelivered):
            delivered(guardian, Undelivered(self.stream, self.name, type(message).__name__, reason))

    # Pykka's hooks ---------------------------------------------------------------------------------------------------

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]  # Pykka calls it on the instance
        self._mailbox = Mailbox(self.capacity, self._wake, self._refuse)
        return self._mailbox

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self.system.actors.add(self)  # not before: other actors read what only the whole constructor has set
        self.system.dispatcher.submit(self._begin, self.home)

    def _begin(self) -> None:
        self._guarded(self.on_start, "start")
        self._mailbox.rest()

    def _wake(self) -> None:
        self.system.dispatcher.submit(self._turn, self.home)

    def _turn(self) -> None:
        """Handle at most `turn` messages, then let other actors use the thread."""
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
        """Run `action`, and report an exception to the guardian. Returns whether there was none."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  # only the message is lost
            further = self._on_failure(message, error)
            # A failed recovery is tried again: otherwise the data would be held back for ever.
            held = self.must_wait(message) or (self.suspends and isinstance(message, Recover))
            if held:
                self._mailbox.hold()
            self._tell_guardian(kind, error, held=held)
            if further is not None:
                self._tell_guardian("notice", further, held=False)
            return False
        return True

    def _on_failure(self, message: Message | None, error: Exception) -> Exception | None:
        """Call `failed`. Returns an exception that it raises: this must not end the thread, which other actors share."""
        try:
            if message is not None:
                self.failed(message, error)
        except Exception as further:  # noqa: BLE001  # reported to the guardian as well
            return further
        return None

    def _tell_guardian(self, kind: str, error: Exception, *, held: bool) -> None:
        if self.system.guardian is not None:
            delivered(self.system.guardian, Failed(self.healer, self.stream, self.name, kind, error, held))

    def must_wait(self, message: Message | None) -> bool:
        """Return whether a failure at `message` holds data back until `Recover`. `message` is None for a failed start."""
        return self.suspends and getattr(message, "lane", Lane.DATA) is Lane.DATA

    def failed(self, message: Message, error: Exception) -> None:
        """Tell the actors or clients that wait for the outcome of `message` that it failed: reply `Busy` to a request.

        A subclass that overrides this calls it for the requests that it does not answer itself.
        """
        reply_to = getattr(message, "reply_to", None)
        if reply_to is not None:
            reply_to(Busy(f"the request failed: {type(error).__name__}"))

    def _refuse(self, envelope: Envelope[Any], reason: str) -> None:
        message = envelope.message
        if envelope.reply_to is not None:
            envelope.reply_to.set(None)
        if not isinstance(message, pykka.messages._ActorStop):  # noqa: SLF001  # Pykka's own message for a stop
            self._return(message, reason)

    def _return(self, message: Message, reason: str) -> None:
        """Reply `Busy` to a request that no actor takes, and report the message to the guardian."""
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
