"""Every message between actors, and every reply: the table of contents of the engine.

Messages are frozen and carry immutable columns. Commands are imperative, facts are past. Each says the lane it travels in;
a message without a reply address is never answered. The gateway knows this file and one address a stream, nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.columns.snapshot import State
from actors.protocol import Address, Control, Data, ReplyTo
from actors.replies import Progress
from actors.timeline.retention import Meter
from actors.timeline.span import Span
from actors.views.view import Due, Events, Frozen, Live, Meta, View

# To the front end ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poll(Data):
    """Read on, if there are credits. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Watch(Control):
    """Say how it stands, if nothing can be sent still. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Begin(Control):
    """Forget everything, know what `state` says instead, and send events to `collector`. None begins at the start.

    What belongs to an earlier `round` does not count any more. `lost`: there was a state, and it could not be read.
    """

    round: int
    collector: Address
    state: State | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Proceed(Control):
    """The live slice has given its state: read on. Not None: the checkpoint is over as well, and was `saved` or not."""

    saved: bool | None


@dataclass(frozen=True, slots=True)
class Activate(Control):
    """Send events to `collector` from now on, once all that went to another one are taken in."""

    collector: Address


@dataclass(frozen=True, slots=True)
class Ingested(Control):
    """A micro-batch of `events` was taken in: the credit comes back."""

    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Returned(Control):
    """A micro-batch that came after the collector had retired: for its successor, with the credit."""

    message: "Ingest"


@dataclass(frozen=True, slots=True)
class Struck(Control):
    """A slice has failed at a micro-batch, and waits for a checkpoint to go back to."""

    message: "Ingest"


@dataclass(frozen=True, slots=True)
class DeadWritten(Control):
    """The dead letters up to message `number` are in the queue of the Kafka client: their bytes are free again."""

    number: int


@dataclass(frozen=True, slots=True)
class DeadSecured(Control):
    """The reply to `SecureDead` of the same `number`: whether Kafka has acknowledged every dead letter sent before."""

    number: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Drain(Control):
    """Stop reading, and reply `Drained` when all that was sent is taken in, and in a checkpoint, where there are any.

    Where there are none, what waits for its turn is sent on first.
    """

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Drained:
    """The reply to `Drain`: nothing is on its way any more."""

    progress: Progress


# To a set collector --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ingest(Data):
    """Take in a micro-batch, or none; before `watermark` nothing else is expected. `idle`: the stream is silent or ended.

    `origin` says where its records lie, where they are not put in order; the front end alone looks at it.
    """

    batch: Events | None
    watermark: int | None
    round: int
    idle: bool = False
    origin: Any = None

    @property
    def count(self) -> int:
        """How many events it brings."""
        return self.batch.count if self.batch is not None else 0


@dataclass(frozen=True, slots=True)
class Settle(Data):
    """Compress one more piece. An aged collector sends it to itself."""


@dataclass(frozen=True, slots=True)
class Farewell(Control):
    """The front end sends nothing to this collector any more."""


@dataclass(frozen=True, slots=True)
class Discard(Control):
    """Let go of the slice, and stop once the front end has said farewell."""


@dataclass(frozen=True, slots=True)
class Read(Control):
    """Send the partial answer of query `number` to the manager."""

    number: int
    span: Span
    arguments: Any


@dataclass(frozen=True, slots=True)
class Snapshot(Control):
    """Send the state of the live slice to the manager, for the checkpoint `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class Archive(Control):
    """Have the frozen slice written, again, once it has settled."""


@dataclass(frozen=True, slots=True)
class Spill(Control):
    """Let go of the bytes of the frozen slice, and read them from the file `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Mapped(Control):
    """The frozen slice over its file of `file_bytes`; it takes `nbytes` of memory. None where that could not be done."""

    frozen: Frozen | None
    nbytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Shed(Control):
    """Forget about `nbytes` of what waits for a match, as memory is short."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Coarsen(Control):
    """Give up exactness for memory, as the view can. To an aged collector, which is written again then."""


# To the publisher ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Emit(Data):
    """Write the answer to `due` to every sink, in the order of `number`; then give the credit of `events` to `front_end`."""

    number: int
    front_end: Address
    view: View
    partial: Any
    due: Due
    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Look(Control):
    """See what the sinks have delivered. The publisher sends it to itself."""


@dataclass(frozen=True, slots=True)
class GetCommitted(Control):
    """Send `Committed` to `manager`, which is about to begin a `round`."""

    manager: Address
    round: int = 0


@dataclass(frozen=True, slots=True)
class Restore(Control):
    """Forget what is under way, and go back to `places`, one a sink; None: to the start. Send `Restored` to `manager`.

    What belongs to an earlier `round` does not count any more.
    """

    round: int
    places: Sequence[Any] | None
    manager: Address


@dataclass(frozen=True, slots=True)
class Prepare(Control):
    """Make what was written outlast a crash, write nothing more, and send `Prepared` for the checkpoint `number`."""

    number: int
    manager: Address


@dataclass(frozen=True, slots=True)
class Commit(Control):
    """Go on: with the results of `checkpoint` for all to see, or, where it was given up and is None, as if nothing had been."""

    checkpoint: int | None


# To the dead letter writer -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dead:
    """A refused record as it came: where it stood in its topic, and why it was refused."""

    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class WriteDead(Control):
    """Write `records` to the dead-letter topic. Send `DeadWritten` to `front_end` when the Kafka client has taken them.

    Each message has a higher `number` than the one before.
    """

    number: int
    records: Sequence[Dead]
    front_end: Address


@dataclass(frozen=True, slots=True)
class SecureDead(Control):
    """Wait until Kafka has acknowledged all dead letters, three seconds at most. Send `DeadSecured` to `front_end`."""

    number: int
    front_end: Address


# To the keeper -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load(Data):
    """Read the newest checkpoint that is good, and not newer than its results: they are out up to `committed`, where not None.

    Send `Loading` and `Loaded` to `manager`.
    """

    committed: int | None
    manager: Address
    round: int = 0


@dataclass(frozen=True, slots=True)
class Keep(Data):
    """Write the generation `number`, as its collector says that it is, for the `version`-th time; send `Kept` to `manager`."""

    number: int
    version: int
    state: State
    manager: Address


@dataclass(frozen=True, slots=True)
class Map(Data):
    """Send `Mapped` to `collector`: the generation that is in the file `name`, read from there when it is looked at."""

    name: str
    collector: Address


@dataclass(frozen=True, slots=True)
class Save(Data):
    """Write a checkpoint that names the generations `named`; send `Saved` to `manager`, whose own number for it is `number`."""

    number: int
    state: State
    named: frozenset[str]
    manager: Address


@dataclass(frozen=True, slots=True)
class Reform(Control):
    """Make slices by `view` from now on, which reads what the one before has written."""

    view: View


# To the manager ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reconfigure(Control):
    """Keep at once to what `meter` allows beside `baseline_bytes`, and open the next collectors by `view`.

    The view reads and means what the one before does: its slices retire at other sizes. Reply `Reconfigured`.
    """

    meter: Meter
    baseline_bytes: int
    view: View
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The reply to `Reconfigure`: so many generations had to go."""

    dropped: int


@dataclass(frozen=True, slots=True)
class Checkpoint(Control):
    """All that was read is taken in, and the front end waits for `Proceed`. `state` is all that it needs to go on from here."""

    state: State


@dataclass(frozen=True, slots=True)
class Snapped(Control):
    """The live slice of collector `collector`, for checkpoint `number`; None where it has retired meanwhile."""

    number: int
    collector: int
    state: State | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared(Control):
    """Where the sinks stand, for checkpoint `number`; or why that cannot be said now."""

    number: int
    places: tuple[Any, ...] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Committed(Control):
    """The newest checkpoint of which the results are out; None where that is no matter. As asked for `round`."""

    checkpoint: int | None
    round: int = 0


@dataclass(frozen=True, slots=True)
class Restored(Control):
    """The sinks are where they were told to be, for `round`."""

    round: int


@dataclass(frozen=True, slots=True)
class Loading(Control):
    """So many of so many generations are read."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Loaded(Control):
    """What a checkpoint said, with its slices; `state` is None where there is none, and `lost` is what could not be read."""

    checkpoint: int
    state: State | None
    live: Live | None
    aged: "tuple[LoadedSlice, ...]"
    lost: tuple[str, ...]
    round: int = 0


@dataclass(frozen=True, slots=True)
class LoadedSlice:
    """A generation of a checkpoint; `frozen` is None where its file cannot be read. On the disk alone, it is `mapped`."""

    number: int
    name: str
    frozen: Frozen | None
    span: Span | None
    events: int
    file_bytes: int
    mapped: "Mapped | None"


@dataclass(frozen=True, slots=True)
class Kept(Control):
    """Generation `number` is in the file `name`, of `nbytes`; None where it could not be written."""

    number: int
    version: int
    name: str | None
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Saved(Control):
    """The checkpoint that is the manager's `number` is safe, as `checkpoint`; None where it could not be written."""

    number: int
    checkpoint: int | None
    nbytes: int
    seconds: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class Missed(Control):
    """Records never came: `count` of them in all, 0 where nobody knows, of one partition. They lay in `span`, as far as known.

    The last one with a `key` counts.
    """

    key: str
    reason: str
    span: Span
    count: int = 0


@dataclass(frozen=True, slots=True)
class Attached(Control):
    """The front end is there and waits for a collector."""

    front_end: Address


@dataclass(frozen=True, slots=True)
class Grown(Control):
    """The collector `number` now looks like `meta`; it has taken in everything before `watermark`, where it is active."""

    number: int
    meta: Meta
    watermark: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Retired(Control):
    """The active collector `number` has frozen: `meta` describes it, `carry` is for its successor."""

    number: int
    meta: Meta
    carry: Any


@dataclass(frozen=True, slots=True)
class Publish(Control):
    """Something is due to be published. The credit of `events` goes back to the front end once that is delivered."""

    due: Due
    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Forgotten(Control):
    """Collector `number` has lost events, by reason: it shed them, or failed at them.

    Answers may lack something before `complete_from`, and in `missing`.
    """

    number: int
    events: Mapping[str, int]
    complete_from: int | None = None
    missing: Span | None = None
    shed: bool = False


@dataclass(frozen=True, slots=True)
class Partial(Control):
    """What collector `collector` read of query `number`; of a frozen slice, with its `revision`: None of a live one."""

    number: int
    collector: int
    partial: Any
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Unread(Control):
    """Collector `collector` cannot read what query `number` asks for."""

    number: int
    collector: int


@dataclass(frozen=True, slots=True)
class Overdue(Control):
    """The deadline of query `number` is over."""

    number: int


# To the guardian -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failed(Control):
    """An actor raised `error` at a message of the kind `kind`. Where it is `held`, `healer` must be told to `Recover`."""

    healer: Address
    stream: str
    name: str
    kind: str
    error: BaseException
    held: bool


@dataclass(frozen=True, slots=True)
class Excused(Control):
    """The last failures of `stream` have led nearer to the records at fault: they do not count towards giving it up."""

    stream: str


@dataclass(frozen=True, slots=True)
class Undelivered(Control):
    """A message of the kind `kind` was not taken in by an actor, for `reason`."""

    stream: str
    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recover(Control):
    """Go on after a failure, from the last good state. To any actor."""
