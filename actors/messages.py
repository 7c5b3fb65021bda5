"""Every message between actors: the table of contents of the engine. `actors.replies` has the gateway's requests.

The sections follow an event: front end, collector, publisher; then the disk, the manager, and the guardian. The unions at the
end list what each actor accepts. Commands are imperative (`Ingest`), facts are past (`Ingested`). Messages are frozen, and
their columns are never changed. A message without a reply address gets no reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.protocol import (
    Address,
    AttemptId,
    CheckpointId,
    CollectorId,
    Control,
    Data,
    PublicationId,
    QueryId,
    ReplyTo,
    RequestId,
    Round,
)
from actors.replies import GetHealth, GetPlace, GetStats, Progress, Query, Write, WriteToAll

if TYPE_CHECKING:
    from actors.columns.snapshot import State
    from actors.timeline.retention import Meter
    from actors.timeline.span import Span
    from actors.views.view import Due, Events, Frozen, Live, Meta, View

# To the front end ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poll(Data):
    """Read the next records, if credits allow. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Watch(Control):
    """Report progress while no batch can be sent. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Begin(Control):
    """Start `round`: restore `state`, or start from nothing if it is None, and send batches to `collector`.

    `lost`: there was a checkpoint, and it could not be read.
    """

    round: Round
    collector: Address[SetCollectorMessage]
    state: State | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Proceed(Control):
    """Read on: the checkpoint has the live slice's state (`saved` is None), or it has ended and was `saved`, or failed."""

    saved: bool | None


@dataclass(frozen=True, slots=True)
class Activate(Control):
    """Send batches to `collector` from now on, once every batch sent to its predecessor is acknowledged."""

    collector: Address[SetCollectorMessage]


@dataclass(frozen=True, slots=True)
class Ingested(Control):
    """A micro-batch of `events` is in its slice, and its results are delivered: one credit comes back."""

    events: int
    round: Round


@dataclass(frozen=True, slots=True)
class Returned(Control):
    """A micro-batch reached a collector that had retired. Its successor must get it; one credit comes back."""

    message: Ingest


@dataclass(frozen=True, slots=True)
class IngestFailed(Control):
    """A slice raised an error at a micro-batch. The collector waits for the next round."""

    message: Ingest


@dataclass(frozen=True, slots=True)
class DeadWritten(Control):
    """The dead letters up to a request are in the queue of the Kafka client: their bytes are free again."""

    request_id: RequestId


@dataclass(frozen=True, slots=True)
class DeadSecured(Control):
    """The reply to `SecureDead`: whether Kafka has acknowledged every dead letter sent before."""

    request_id: RequestId
    safe: bool


@dataclass(frozen=True, slots=True)
class Drain(Control):
    """Stop reading, and reply `Drained` once all batches are acknowledged and, with checkpoints, in a checkpoint.

    Without checkpoints, the events that wait for their order are sent first.
    """

    reply_to: ReplyTo[Drained]


@dataclass(frozen=True, slots=True)
class Drained:
    """The reply to `Drain`: no batch is on its way."""

    progress: Progress


# To a set collector --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ingest(Data):
    """Add a micro-batch to the slice. No event before `watermark` is expected later. `idle`: no event is expected soon.

    `batch` is None if only the watermark has moved. `origin` (see `reading.poison.Origin`) locates its records in a view that
    needs no order; only the front end reads it.
    """

    batch: Events | None
    watermark: int | None
    round: Round
    idle: bool = False
    origin: Any = None

    @property
    def count(self) -> int:
        """The number of events in the batch."""
        return self.batch.count if self.batch is not None else 0


@dataclass(frozen=True, slots=True)
class CompressNext(Data):
    """Compress one more piece of the frozen slice. An aged collector sends it to itself."""


@dataclass(frozen=True, slots=True)
class InputEnded(Control):
    """The front end will send no more batches to this collector."""


@dataclass(frozen=True, slots=True)
class Discard(Control):
    """Release the slice, and stop after `InputEnded`."""


@dataclass(frozen=True, slots=True)
class Read(Control):
    """Send the slice's `Partial` of a query to the manager."""

    query_id: QueryId
    span: Span
    arguments: Any


@dataclass(frozen=True, slots=True)
class Snapshot(Control):
    """Send the live slice's state to the manager as `Snapped`, for a checkpoint."""

    attempt_id: AttemptId


@dataclass(frozen=True, slots=True)
class Archive(Control):
    """Have the keeper write the frozen slice, again, once all of it is compressed."""


@dataclass(frozen=True, slots=True)
class Spill(Control):
    """Release the frozen slice's memory, and read it from the file `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Mapped(Control):
    """The frozen slice over its file of `file_bytes`; it takes `nbytes` of memory. None if the file cannot be read."""

    frozen: Frozen | None
    nbytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Shed(Control):
    """Drop `nbytes` of the events that wait for a match, because memory is short."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Coarsen(Control):
    """Trade exactness for memory, as the view allows. Only an aged collector gets it; its slice is written again."""


# To the publisher ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Emit(Data):
    """Write the result `due` to every sink, in the order of ids; then return the credit of `events` to `front_end`."""

    publication_id: PublicationId
    front_end: Address[Ingested]
    view: View
    partial: Any
    due: Due
    events: int
    round: Round


@dataclass(frozen=True, slots=True)
class Look(Control):
    """Check which records are delivered. The publisher, and the writer, send it to themselves."""


@dataclass(frozen=True, slots=True)
class GetCommitted(Control):
    """Send `Committed` to `manager`, which is about to begin `round`."""

    manager: ManagerAddress
    round: Round


@dataclass(frozen=True, slots=True)
class Restore(Control):
    """Begin `round`: forget results under way, move each sink back to its place, and send `Restored` to `manager`.

    `places` has one entry a sink. None moves every sink back to its start.
    """

    round: Round
    places: Sequence[Any] | None
    manager: ManagerAddress


@dataclass(frozen=True, slots=True)
class Prepare(Control):
    """Make written results survive a crash, write no more until `Commit`, and send `Prepared` to `manager`."""

    attempt_id: AttemptId
    manager: ManagerAddress


@dataclass(frozen=True, slots=True)
class Commit(Control):
    """Make the results of a checkpoint visible, and write on. None: the checkpoint failed; only write on."""

    checkpoint_id: CheckpointId | None


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

    Each request has a higher id than the one before.
    """

    request_id: RequestId
    records: Sequence[Dead]
    front_end: Address[DeadWritten]


@dataclass(frozen=True, slots=True)
class SecureDead(Control):
    """Wait until Kafka has acknowledged all dead letters, three seconds at most. Send `DeadSecured` to `front_end`."""

    request_id: RequestId
    front_end: Address[DeadSecured]


# To the keeper -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load(Data):
    """Read the newest good checkpoint that is not newer than `committed`; send `Loading` and `Loaded` to `manager`.

    `committed` is None if no sink tracks checkpoints.
    """

    committed: CheckpointId | None
    manager: Address[Loading | Loaded]
    round: Round


@dataclass(frozen=True, slots=True)
class Keep(Data):
    """Write version `version` of a generation; send `Kept` to `manager`."""

    collector_id: CollectorId
    version: int
    state: State
    manager: Address[Kept]


@dataclass(frozen=True, slots=True)
class Map(Data):
    """Send `Mapped` to `collector`: a slice over the generation's file `name`, which reads from disk when it is queried."""

    name: str
    collector: Address[Mapped]


@dataclass(frozen=True, slots=True)
class Save(Data):
    """Write a checkpoint that refers to the generations' files `named`; send `Saved` to `manager`."""

    attempt_id: AttemptId
    state: State
    named: frozenset[str]
    manager: Address[Saved]


@dataclass(frozen=True, slots=True)
class Reform(Control):
    """Make slices by `view` from now on. It reads what its predecessor has written."""

    view: View


# To the manager ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attached(Control):
    """The front end has started and waits for `Begin`."""

    front_end: Address[FrontEndMessage]


@dataclass(frozen=True, slots=True)
class Committed(Control):
    """The newest checkpoint whose results are committed in every sink; None if no sink tracks checkpoints."""

    checkpoint_id: CheckpointId | None
    round: Round


@dataclass(frozen=True, slots=True)
class Loading(Control):
    """The keeper has read `done` of `total` generations."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Loaded(Control):
    """A checkpoint and its slices. `state` is None if there is no checkpoint; `lost` describes what could not be read."""

    checkpoint_id: CheckpointId
    state: State | None
    live: Live | None
    aged: tuple[LoadedSlice, ...]
    lost: tuple[str, ...]
    round: Round


@dataclass(frozen=True, slots=True)
class LoadedSlice:
    """A generation of a checkpoint. `frozen` is None if its file cannot be read; `mapped` is set if it stays on disk."""

    collector_id: CollectorId
    name: str
    frozen: Frozen | None
    span: Span | None
    events: int
    file_bytes: int
    mapped: Mapped | None


@dataclass(frozen=True, slots=True)
class Restored(Control):
    """Every sink is back at its place, for `round`."""

    round: Round


@dataclass(frozen=True, slots=True)
class Grown(Control):
    """A collector now looks like `meta`. An active one has added every event before `watermark`; `at` is the wall clock."""

    collector_id: CollectorId
    meta: Meta
    watermark: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Retired(Control):
    """The active collector has frozen its slice: `meta` describes it, its successor takes over `carry`."""

    collector_id: CollectorId
    meta: Meta
    carry: Any


@dataclass(frozen=True, slots=True)
class Publish(Control):
    """A result is due. The credit of `events` returns to the front end once the result is delivered."""

    due: Due
    events: int
    round: Round


@dataclass(frozen=True, slots=True)
class EventsLost(Control):
    """A collector has lost events, counted by reason: it shed them (`shed`), or failed at them.

    Answers may lack events before `complete_from`, and in `missing`.
    """

    collector_id: CollectorId
    events: Mapping[str, int]
    complete_from: int | None = None
    missing: Span | None = None
    shed: bool = False


@dataclass(frozen=True, slots=True)
class RecordsMissing(Control):
    """One partition's records never arrived. `count` is their total, 0 if unknown; as far as known they lie in `span`.

    A later message with the same `key` replaces an earlier one.
    """

    key: str
    reason: str
    span: Span
    count: int = 0


@dataclass(frozen=True, slots=True)
class Partial(Control):
    """A collector's part of a query's answer. `revision` changes when a frozen slice does; it is None of a live slice."""

    query_id: QueryId
    collector_id: CollectorId
    partial: Any
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Unread(Control):
    """A collector failed to read its part of a query."""

    query_id: QueryId
    collector_id: CollectorId


@dataclass(frozen=True, slots=True)
class Overdue(Control):
    """The deadline of a query has passed. The manager sends it to itself."""

    query_id: QueryId


@dataclass(frozen=True, slots=True)
class Checkpoint(Control):
    """All batches are acknowledged, and the front end waits for `Proceed`. `state` is the front end's whole state."""

    state: State


@dataclass(frozen=True, slots=True)
class Snapped(Control):
    """The state of a live slice, for a checkpoint. None if the slice has retired, or if `problem` prevents it."""

    attempt_id: AttemptId
    collector_id: CollectorId
    state: State | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared(Control):
    """The sinks' places, for a checkpoint. None if `problem` prevents it."""

    attempt_id: AttemptId
    places: tuple[Any, ...] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Kept(Control):
    """Version `version` of a generation is in the file `name`, of `nbytes`. None if it could not be written."""

    collector_id: CollectorId
    version: int
    name: str | None
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Saved(Control):
    """A checkpoint is on disk as `checkpoint_id`. None if `problem` prevented it."""

    attempt_id: AttemptId
    checkpoint_id: CheckpointId | None
    nbytes: int
    seconds: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class Reconfigure(Control):
    """Apply `meter`'s limits and `baseline_bytes` at once, and open the next collectors by `view`. Reply `Reconfigured`.

    The new view reads its predecessor's slices; it differs only in the sizes at which a slice retires.
    """

    meter: Meter
    baseline_bytes: int
    view: View
    reply_to: ReplyTo[Reconfigured]


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The reply to `Reconfigure`: the new limits dropped `dropped` generations."""

    dropped: int


# To the guardian -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failed(Control):
    """An actor raised `error` at a message of class `kind`. If it is `held`, `healer` needs `Recover` to go on."""

    healer: Address[Recover]
    stream: str
    name: str
    kind: str
    error: BaseException
    held: bool


@dataclass(frozen=True, slots=True)
class FailureNarrowed(Control):
    """The last failures of `stream` helped to find the records at fault, so they do not count towards giving it up."""

    stream: str


@dataclass(frozen=True, slots=True)
class Undelivered(Control):
    """An actor did not accept a message of class `kind`, for `reason`."""

    stream: str
    name: str
    kind: str
    reason: str


# To any actor --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recover(Control):
    """Go on after a failure, from the last good state. The actor's base accepts it for every actor."""


# What each actor accepts ---------------------------------------------------------------------------------------------

FrontEndMessage = (
    Poll | Watch | Begin | Proceed | Activate | Ingested | Returned | IngestFailed | DeadWritten | DeadSecured | Drain
)

SetCollectorMessage = Ingest | CompressNext | InputEnded | Discard | Read | Snapshot | Archive | Spill | Mapped | Shed | Coarsen

PublisherMessage = Emit | Look | GetPlace | GetCommitted | Restore | Prepare | Commit

DeadLetterWriterMessage = WriteDead | SecureDead | Look

WriterMessage = Write | WriteToAll | Look

KeeperMessage = Load | Keep | Map | Save | Reform

StartMessage = Committed | Loading | Loaded | Restored
"""The steps by which a round begins."""

CheckpointPart = Checkpoint | Snapped | Prepared | Kept | Saved
"""The parts of a checkpoint that reach the manager."""

ManagerMessage = (
    Attached
    | StartMessage
    | Progress
    | Grown
    | Retired
    | Publish
    | EventsLost
    | RecordsMissing
    | Query
    | Partial
    | Unread
    | Overdue
    | CheckpointPart
    | GetStats
    | Reconfigure
)

ManagerAddress = Address[ManagerMessage | Recover]

GuardianMessage = Failed | FailureNarrowed | Undelivered | GetHealth
