"""The actor that owns one slice of a view: live while it is active, frozen and compressed when it is aged.

It answers reads alike in both states. It does not know which view it serves, and touches no other slice.
"""

from typing import Any, ClassVar, assert_never

from actors.actor import Actor, System
from actors.messages import (
    Address,
    Coarsen,
    Discard,
    Farewell,
    Forgotten,
    Grown,
    Ingest,
    Ingested,
    Message,
    Partial,
    Publish,
    Read,
    Retired,
    Returned,
    Settle,
    Shed,
)
from actors.timeline.span import Span
from actors.views.view import Frozen, Live, View

SetCollectorMessage = Ingest | Settle | Farewell | Discard | Read | Shed | Coarsen


class SetCollector(Actor):
    """Collector `number` of its stream. It begins with the `carry` of its predecessor, and may be full with that at once."""

    suspends: ClassVar[bool] = True

    def __init__(
        self,
        system: System,
        *,
        stream: str,
        view: View,
        number: int,
        carry: Any | None,
        watermark: int | None,
        manager: Address,
        front_end: Address,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._number = number
        self._carry = carry
        self._watermark = watermark
        self._manager = manager
        self._front_end = front_end
        self._live: Live | None = None
        self._frozen: Frozen | None = None
        self._left = False
        self._discarded = False

    @property
    def name(self) -> str:
        """What people know the actor by."""
        return f"SetCollector {self._number}"

    @property
    def home(self) -> str:
        """Run beside the front end while active; aged, where compression and reads hold nobody up."""
        return self.stream if self._frozen is None else f"{self.stream}-aged"

    def on_start(self) -> None:
        """Take over the carry."""
        self._live = self._view.open(self._carry)
        self._carry = None
        self._after_growth()

    def receive(self, message: SetCollectorMessage) -> None:
        """Handle one message."""
        match message:
            case Ingest():
                self._ingest(message)
            case Read(number, span, arguments):
                partial = self._slice.read(span, arguments)
                self.send(self._manager, Partial(number, self._number, partial))
            case Settle():
                self._settle()
            case Shed(nbytes):
                self._shed(nbytes)
            case Coarsen():
                self._coarsen()
            case Farewell():
                self._left = True
                self._stop_if_done()
            case Discard():
                self._discarded = True
                self._stop_if_done()
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:  # noqa: ARG002  # the guardian hears the rest
        """Count the events of a batch that could not be taken in, and give the credit back."""
        if isinstance(message, Ingest):
            batch = message.batch
            first, last = (batch.first(), batch.last()) if batch is not None else (None, None)
            missing = Span(first, last + 1) if first is not None and last is not None else None
            self.send(self._manager, Forgotten(self._number, {"failed": message.count}, missing=missing))
            self.send(self._front_end, Ingested(message.count))

    @property
    def _slice(self) -> Live | Frozen:
        owned = self._live or self._frozen
        assert owned is not None, "a collector owns a slice from its start on"
        return owned

    def _ingest(self, message: Ingest) -> None:
        """Take in a batch, and see what is due with it; once retired, give it back, for the successor."""
        if self._live is None:
            self.send(self._front_end, Returned(message))
            return
        if message.batch is not None:
            lost = self._live.add(message.batch, message.watermark)
            if lost:
                self.send(self._manager, Forgotten(self._number, lost))
        self._watermark = message.watermark
        due = self._live.close(message.watermark, idle=message.idle)
        self._after_growth()
        if due is None:
            self.send(self._front_end, Ingested(message.count))
        else:
            self.send(self._manager, Publish(due, message.count))

    def _after_growth(self) -> None:
        """Tell how large the slice is, or retire where it is full."""
        assert self._live is not None, "only a live slice grows"
        if not self._live.full:
            self._tell_size()
            return
        self._frozen, carry = self._live.freeze()
        self._live = None
        self.send(self._manager, Retired(self._number, self._frozen.meta(), carry))
        self.send(self.actor_ref, Settle())

    def _settle(self) -> None:
        """Compress one piece, and come back for the next, so that a read never waits long."""
        assert self._frozen is not None, "only a frozen slice settles"
        if self._discarded:
            return
        if self._frozen.settle():
            self.send(self.actor_ref, Settle())
        else:
            self._tell_size()

    def _stop_if_done(self) -> None:
        """Stop where neither the front end nor the manager needs it any more."""
        if self._left and self._discarded:
            self.stop()

    def _shed(self, nbytes: int) -> None:
        if self._live is not None:
            self.send(self._manager, Forgotten(self._number, *self._live.shed(nbytes), shed=True))
            self._tell_size()

    def _coarsen(self) -> None:
        if self._frozen is not None and not self._discarded:
            self._frozen.coarsen()
            self._tell_size()

    def _tell_size(self) -> None:
        meta, at = self._slice.meta(), self.system.dispatcher.wall()
        self.send(self._manager, Grown(self._number, meta, self._watermark, at))
