"""The actor that owns one slice of any view (not only of `sets`): a live slice while it is active, a frozen one when aged.

It answers reads in both states. It depends on no particular view.
"""

from typing import Any, ClassVar, assert_never, cast

from actors.messages import (
    Archive,
    Coarsen,
    CompressNext,
    Discard,
    EventsLost,
    FrontEndMessage,
    Grown,
    Ingest,
    Ingested,
    IngestFailed,
    InputEnded,
    Keep,
    KeeperMessage,
    Kept,
    ManagerAddress,
    Map,
    Mapped,
    Partial,
    Publish,
    Read,
    Recover,
    Retired,
    Returned,
    SetCollectorMessage,
    Shed,
    Snapped,
    Snapshot,
    Spill,
    Unfinished,
    Unread,
)
from actors.protocol import Address, CollectorId, Home, Message
from actors.runtime.actor import Actor, System
from actors.views.view import Frozen, Live, View


class SetCollector(Actor[SetCollectorMessage]):
    """Collector `collector_id` of its stream. Its slice was `found` in a checkpoint, or is new and starts with `carry`.

    Its frozen slice is written by `keeper`. A batch that fails is read again in the next round.
    """

    suspends: ClassVar[bool] = True

    def __init__(
        self,
        system: System,
        *,
        stream: str,
        view: View,
        collector_id: CollectorId,
        carry: Any | None,
        watermark: int | None,
        manager: ManagerAddress,
        front_end: Address[FrontEndMessage],
        keeper: Address[KeeperMessage],
        found: Live | Frozen | None = None,
        aged: bool = False,
        mapped: Mapped | None = None,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._id = collector_id
        self._carry = carry
        self._watermark = watermark
        self._manager = manager
        self._front_end = front_end
        self._keeper = keeper
        self._live: Live | None = None if aged else cast("Live | None", found)
        self._frozen: Frozen | None = cast("Frozen", found) if aged else None
        self._version = 0
        self._revision = 0
        self._compressed = aged
        self._mapped = mapped
        self._input_ended = False
        self._discarded = False

    @property
    def name(self) -> str:
        """The actor's name in logs and dead letters."""
        return f"SetCollector {self._id}"

    @property
    def state(self) -> str:
        """`active` or `aged`."""
        return "active" if self._frozen is None else "aged"

    @property
    def home(self) -> str:
        """The thread of the active collector. Aged collectors share another, so that compression delays no batch."""
        return (Home.ACTIVE if self._frozen is None else Home.AGED).of(self.stream)

    def on_start(self) -> None:
        """Open a new slice, or begin to compress a found one."""
        if self._frozen is not None:
            if self._mapped is None:
                self.send(self.address, CompressNext())
            return
        if self._live is None:
            self._live = self._view.open(self._carry)
        self._carry = None
        self._after_growth()

    def on_stop(self) -> None:
        """Release the slice at once: actor and address form a cycle, which Python collects late."""
        self._live = self._frozen = self._mapped = None

    def receive(self, message: SetCollectorMessage) -> None:
        """Handle one message."""
        match message:
            case Ingest():
                self._ingest(message)
            case Read(query_id, span, arguments):
                partial = self._slice.read(span, arguments)
                revision = self._revision if self._frozen is not None else None
                self.send(self._manager, Partial(query_id, self._id, partial, revision))
            case CompressNext():
                self._compress_next()
            case Snapshot(attempt_id):
                state = self._live.state() if self._live is not None else None
                self.send(self._manager, Snapped(attempt_id, self._id, state))
            case Spill(name):
                if not self._discarded:
                    self.send(self._keeper, Map(name, self.address))
            case Mapped():
                self._take_mapped(message)
            case Archive():
                self._archive()
            case Shed(nbytes):
                self._shed(nbytes)
            case Coarsen():
                self._coarsen()
            case InputEnded():
                self._input_ended = True
                self._stop_if_done()
            case Discard():
                self._discarded = True
                self._stop_if_done()
            case _:
                assert_never(message)

    @property
    def healer(self) -> Address[Recover]:
        """The manager, because it restores the last checkpoint."""
        return self._manager

    def failed(self, message: Message, error: Exception) -> None:
        """Report the failure to the sender."""
        super().failed(message, error)
        if isinstance(message, Snapshot):
            problem = f"the state of the live slice cannot be read: {type(error).__name__}: {error}"
            self.send(self._manager, Snapped(message.attempt_id, self._id, None, problem))
        elif isinstance(message, Read):
            self.send(self._manager, Unread(message.query_id, self._id))
        elif isinstance(message, CompressNext | Archive | Coarsen):
            self.send(self._manager, Kept(self._id, self._version, None))
        elif isinstance(message, Ingest):
            self.send(self._front_end, IngestFailed(message))

    @property
    def _slice(self) -> Live | Frozen:
        owned = self._live or self._frozen
        assert owned is not None, "a collector owns a slice from its start to its stop"
        return owned

    def _ingest(self, message: Ingest) -> None:
        """Add a batch, and publish the results that are due. An aged collector returns the batch, for its successor."""
        if self._live is None:
            self.send(self._front_end, Returned(message))
            return
        if message.batch is not None:
            lost = self._live.add(message.batch, message.watermark)
            if lost:
                self.send(self._manager, EventsLost(self._id, lost))
        self._watermark = message.watermark
        due = self._live.close(message.watermark, message.silence)
        if message.silence is not None and self._live.due_at is not None:
            self.send(self._front_end, Unfinished(self._live.due_at, message.round))
        if due is None:
            self.send(self._front_end, Ingested(message.count, message.round))
        else:
            if due.arguments is not None:  # read now, because the next batch may change this row and make it due again
                own = self._live.read(due.span, due.arguments)
                due = due._replace(partial=self._view.merge([due.partial, own]))
            self.send(self._manager, Publish(due, message.count, message.round))
        self._after_growth()

    def _after_growth(self) -> None:
        """Report the slice's size, or retire if it is full."""
        assert self._live is not None, "only a live slice grows"
        if not self._live.full:
            self._report_size()
            return
        self._frozen, carry = self._live.freeze()
        self._live = None
        self.send(self._manager, Retired(self._id, self._frozen.meta(), carry))
        self.send(self.address, CompressNext())

    def _compress_next(self) -> None:
        """Compress one piece, and send itself `CompressNext`, so that a read never waits long."""
        assert self._frozen is not None, "only a frozen slice is compressed"
        if self._discarded:
            return
        if self._frozen.settle():
            self.send(self.address, CompressNext())
            return
        self._report_size()
        if not self._compressed:
            self._compressed = True
            self._archive()

    def _stop_if_done(self) -> None:
        """Stop if neither the front end nor the manager will send another message."""
        if self._input_ended and self._discarded:
            self.stop()

    def _shed(self, nbytes: int) -> None:
        if self._live is not None:
            self.send(self._manager, EventsLost(self._id, *self._live.shed(nbytes), shed=True))
            self._report_size()

    def _coarsen(self) -> None:
        if self._frozen is not None and not self._discarded:
            self._frozen.coarsen()
            self._version += 1
            self._revision += 1
            self._report_size()
            if self._compressed:
                self._archive()

    def _archive(self) -> None:
        """Have the keeper write the slice. If it is not yet compressed, `_compress_next` does this later."""
        if self._frozen is not None and self._compressed and not self._discarded:
            self.send(self._keeper, Keep(self._id, self._version, self._frozen.state(), self._manager))

    def _take_mapped(self, mapped: Mapped) -> None:
        """Answer from the disk in future; if the file cannot be read, from memory as before."""
        if mapped.frozen is not None and not self._discarded:
            self._frozen, self._mapped = mapped.frozen, mapped
            self._revision += 1
        elif mapped.frozen is None:
            self.send(self._manager, Kept(self._id, self._version, None))
        self._report_size()

    def _report_size(self) -> None:
        meta, at = self._slice.meta(), self.system.dispatcher.wall()
        if self._mapped is not None:
            meta = meta.on_disk(self._mapped.nbytes, self._mapped.file_bytes)
        self.send(self._manager, Grown(self._id, meta, self._watermark, at))
