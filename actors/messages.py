"""Every message between actors: the table of contents of the engine. `actors.replies` has the gateway's requests.

A section for each actor lists the messages to it; a docstring names the sender. The unions at the end list what each actor
accepts. Commands are in the imperative (`Ingest`), facts in the past tense (`Ingested`). No actor changes a column in a
message. Event times and watermarks are in the stream's unit, sizes (`nbytes`) in bytes, `at` and `seconds` in seconds. An actor
ignores messages of an earlier `round`: a stream's run from one recovery to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

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
    from actors.standing import Standing
    from actors.timeline.retention import Meter
    from actors.timeline.span import Span
    from actors.views.view import Due, Events, Frozen, Live, Meta, Silence, View

# To the front end ----------------------------------------------------------------------------------------------------


class Poll(Data, frozen=True):
    """Read the next records, if credits allow. The front end sends it to itself."""


class Watch(Control, frozen=True):
    """Report progress while no batch can be sent. The front end sends it to itself."""


class Begin(Control, frozen=True):
    """Start `round` from `state`, and send batches to `collector`. Sent by the manager.

    Without a checkpoint `state` is None. `lost` is true if a checkpoint exists and cannot be read.
    """

    round: Round
    collector: Address[SetCollectorMessage]
    state: State | None
    lost: bool


class Proceed(Control, frozen=True):
    """Resume reading. Sent by the manager.

    `saved` is None while the checkpoint is being written; then it is True, or False if the checkpoint failed.
    """

    saved: bool | None


class Activate(Control, frozen=True):
    """Send batches to `collector`, after every batch sent to its predecessor is acknowledged. Sent by the manager."""

    collector: Address[SetCollectorMessage]


class Ingested(Control, frozen=True):
    """A batch of `events` events is in its slice, and its results are delivered: returns one credit.

    Sent by the last actor that handled the batch: the collector, the manager or the publisher.
    """

    events: int
    round: Round


class Returned(Control, frozen=True):
    """A batch reached a retired collector, and must go to its successor. Sent by the collector; returns one credit."""

    message: Ingest


class Unfinished(Control, frozen=True):
    """The earliest unfinished result of a silent stream is due when the stream's time is `due_at`. Sent by the collector."""

    due_at: int
    round: Round


class IngestFailed(Control, frozen=True):
    """A slice raised an error at a batch. Sent by the collector, which takes no data until the next round."""

    message: Ingest


class DeadWritten(Control, frozen=True):
    """The Kafka client has queued the records of every request up to `request_id`. Sent by the dead letter writer."""

    request_id: RequestId


class DeadSecured(Control, frozen=True):
    """The reply to `SecureDead`: `safe` if Kafka has acknowledged every earlier dead letter. Sent by the dead letter writer."""

    request_id: RequestId
    safe: bool


class Drain(Control, frozen=True):
    """Stop reading; reply `Drained` once every batch is acknowledged, and is in a checkpoint if checkpoints are lasting.

    Sent by the composition root at a stop. If they are not, the front end first sends the events in its order buffer.
    """

    reply_to: ReplyTo[Drained]


class Drained(Struct, frozen=True):
    """The reply to `Drain`: no batch is in flight."""

    progress: Progress


# To a set collector --------------------------------------------------------------------------------------------------


class Ingest(Data, frozen=True):
    """Add a batch to the slice, and publish the results that `watermark` makes due. Sent by the front end.

    Events before `watermark` are late from now on. `batch` is None if only the watermark has moved, or there is a `silence`.
    `origin` (`reading.poison.Origin`) locates the batch's records for the front end.
    """

    batch: Events | None
    watermark: int | None
    round: Round
    silence: Silence | None = None
    origin: Any = None

    @property
    def count(self) -> int:
        """The number of events in the batch."""
        return self.batch.count if self.batch is not None else 0


class CompressNext(Data, frozen=True):
    """Compress one more piece of the frozen slice. An aged collector sends this to itself."""


class InputEnded(Control, frozen=True):
    """No more batches follow. Sent by the front end after `Activate`."""


class Discard(Control, frozen=True):
    """The generation is dropped: stop as soon as `InputEnded` has come too. Sent by the manager."""


class Read(Control, frozen=True):
    """Send the slice's `Partial` of a query, or `Unread`, to the manager, the sender."""

    query_id: QueryId
    span: Span
    arguments: Any


class Snapshot(Control, frozen=True):
    """Send the live slice's state to the manager as `Snapped`. Sent by the manager, for a checkpoint."""

    attempt_id: AttemptId


class Archive(Control, frozen=True):
    """Have the keeper write the frozen slice as soon as it is compressed. Sent by the manager if an earlier write failed."""


class Spill(Control, frozen=True):
    """Release the frozen slice's memory, and read it from the file `name` in future. Sent by the manager."""

    name: str


class Mapped(Control, frozen=True):
    """A frozen slice that reads its file when it is queried. Sent by the keeper in reply to `Map`.

    The slice takes `nbytes` of memory, its file `file_bytes`. `frozen` is None if the file cannot be read.
    """

    frozen: Frozen | None
    nbytes: int
    file_bytes: int


class Shed(Control, frozen=True):
    """Drop `nbytes` of the events that wait for a match. Sent by the manager if memory is short."""

    nbytes: int


class Coarsen(Control, frozen=True):
    """Make the frozen slice smaller and less exact, as the view allows, and have it written again. Sent by the manager."""


# To the publisher ----------------------------------------------------------------------------------------------------


class Emit(Data, frozen=True):
    """Write the result `due` to every sink, then return the credit of `events` events to `front_end`. Sent by the manager.

    The publisher writes in the order of `publication_id`: 1, 2, 3, … in a round. `view` renders `partial`.
    """

    publication_id: PublicationId
    front_end: Address[Ingested]
    view: View
    partial: Any
    due: Due
    events: int
    round: Round


class Look(Control, frozen=True):
    """Check which records are delivered. Each actor that writes to Kafka sends this to itself."""


class GetCommitted(Control, frozen=True):
    """Send `Committed` to `manager`. Sent by the manager as the first step of `round`."""

    manager: ManagerAddress
    round: Round


class Restore(Control, frozen=True):
    """Begin `round`: drop unfinished results, move each sink back to its place, and send `Restored` to `manager`, the sender.

    `places` are those of `Prepared`, one a sink; None moves every sink back to its start.
    """

    round: Round
    places: Sequence[Any] | None
    manager: ManagerAddress


class Halt(Control, frozen=True):
    """Write nothing more, and report `reason` to the service, which ends. Sent by the manager if no checkpoint fits."""

    reason: str


class Prepare(Control, frozen=True):
    """Flush the written results, pause until `Commit`, and send `Prepared` to `manager`, the sender."""

    attempt_id: AttemptId
    manager: ManagerAddress


class Commit(Control, frozen=True):
    """Commit the results of a checkpoint, and resume writing; only resume if `checkpoint_id` is None. Sent by the manager."""

    checkpoint_id: CheckpointId | None


# To the dead letter writer -------------------------------------------------------------------------------------------


class Dead(Struct, frozen=True):
    """A refused record with its original key, value and headers, its place in the topic, and the reason."""

    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int
    offset: int
    reason: str


class WriteDead(Control, frozen=True):
    """Write `records`; send `DeadWritten` to `front_end`, the sender, when the Kafka client has queued them. Ids grow."""

    request_id: RequestId
    records: Sequence[Dead]
    front_end: Address[DeadWritten]


class SecureDead(Control, frozen=True):
    """Wait at most 3 s until Kafka has acknowledged every dead letter, and send `DeadSecured` to `front_end`, the sender."""

    request_id: RequestId
    front_end: Address[DeadSecured]


# To the keeper -------------------------------------------------------------------------------------------------------


class Load(Data, frozen=True):
    """Read the newest readable checkpoint that fits `standing`; send `Loading` and `Loaded` to `manager`, the sender.

    `standing` is None if no sink tracks checkpoints: any checkpoint fits then.
    """

    standing: Standing | None
    manager: Address[Loading | Loaded]
    round: Round


class Keep(Data, frozen=True):
    """Write version `version` of a generation to a file; send `Kept` to `manager`. Sent by an aged collector."""

    collector_id: CollectorId
    version: int
    state: State
    manager: Address[Kept]


class Map(Data, frozen=True):
    """Open the generation's file `name`, and send `Mapped` to `collector`, the sender."""

    name: str
    collector: Address[Mapped]


class Save(Data, frozen=True):
    """Write a checkpoint that names the generations' files `named`, and send `Saved` to `manager`, the sender.

    The keeper then deletes files that no kept checkpoint names.
    """

    attempt_id: AttemptId
    state: State
    named: frozenset[str]
    manager: Address[Saved]


class Reform(Control, frozen=True):
    """Use `view` to read slices from now on. Sent by the manager after a reload of the configuration."""

    view: View


# To the manager ------------------------------------------------------------------------------------------------------


class Attached(Control, frozen=True):
    """The front end has started, and waits for `Begin`. Sent by the front end, once."""

    front_end: Address[FrontEndMessage]


class Committed(Control, frozen=True):
    """The results that readers see; None if no sink tracks checkpoints. The publisher's reply to `GetCommitted` of `round`.

    The publisher also sends this in reply to `Restore` if an earlier process has committed meanwhile: the search begins again.
    """

    standing: Standing | None
    round: Round


class Loading(Control, frozen=True):
    """The keeper has read `done` of the `total` generations of a checkpoint. Sent by the keeper while it handles `Load`."""

    done: int
    total: int


class Loaded(Control, frozen=True):
    """A checkpoint and its slices, the aged ones oldest first: the keeper's reply to `Load` of `round`.

    `state` is None if no checkpoint can be read. `lost` describes each file that exists and cannot be read. `doubt` describes
    results that may come twice or be missing. If `refused` is set, no checkpoint fits, and the stream must not begin.
    """

    checkpoint_id: CheckpointId
    state: State | None
    live: Live | None
    aged: tuple[LoadedSlice, ...]
    lost: tuple[str, ...]
    round: Round
    doubt: str | None = None
    refused: str | None = None


class LoadedSlice(Struct, frozen=True):
    """A generation in a checkpoint. `frozen` is None if the file cannot be read; `mapped` is set if the slice stays on disk."""

    collector_id: CollectorId
    name: str
    frozen: Frozen | None
    span: Span | None
    events: int
    file_bytes: int
    mapped: Mapped | None


class Restored(Control, frozen=True):
    """Every sink is at its place in the checkpoint. Sent by the publisher in reply to `Restore` of `round`."""

    round: Round


class Delayed(Control, frozen=True):
    """A sink accepts no results because of `problem`; None if all accept them again. Sent by the publisher, or the issuer."""

    problem: str | None


class Grown(Control, frozen=True):
    """`meta` describes the slice after a batch or a step. Sent by the collector.

    An active one has added every event before `watermark`. `at` is the wall clock (seconds since 1970).
    """

    collector_id: CollectorId
    meta: Meta
    watermark: int | None
    at: float


class Retired(Control, frozen=True):
    """The active collector is full, and has frozen its slice. Its successor starts with `carry`. Sent by the collector."""

    collector_id: CollectorId
    meta: Meta
    carry: Any


class Publish(Control, frozen=True):
    """The result `due` must be published. The credit of `events` events returns when it is delivered. Sent by the collector."""

    due: Due
    events: int
    round: Round


class EventsLost(Control, frozen=True):
    """A collector has dropped events: `events` counts them by reason. Sent by the collector.

    `shed` is true if this replies to `Shed`. Answers may lack events before `complete_from`.
    """

    collector_id: CollectorId
    events: Mapping[str, int]
    complete_from: int | None = None
    shed: bool = False


class RecordsMissing(Control, frozen=True):
    """Kafka deleted `count` records (0: unknown) of one partition before they were read. Sent by the front end.

    Their event times lie in `span`. A later message with the same `key` replaces the earlier one.
    """

    key: str
    reason: str
    span: Span
    count: int = 0


class Partial(Control, frozen=True):
    """A slice's part of an answer: the collector's reply to `Read`. `revision` changes with a frozen slice; None if live."""

    query_id: QueryId
    collector_id: CollectorId
    partial: Any
    revision: int | None = None


class Unread(Control, frozen=True):
    """The slice raised an error at `Read`: the answer lacks its span. Sent by the collector."""

    query_id: QueryId
    collector_id: CollectorId


class Overdue(Control, frozen=True):
    """The deadline of a query has passed. The manager sends this to itself, and replies with the partials that it has."""

    query_id: QueryId


class Checkpoint(Control, frozen=True):
    """Begin a checkpoint with the front end's `state`. Sent by the front end after every batch is acknowledged."""

    state: State


class Snapped(Control, frozen=True):
    """The state of the live slice: the collector's reply to `Snapshot`. None if it is frozen, or if `problem` says why."""

    attempt_id: AttemptId
    collector_id: CollectorId
    state: State | None
    problem: str | None = None


class Prepared(Control, frozen=True):
    """The place of each sink, for `Restore`: the publisher's reply to `Prepare`. None if `problem` says why not."""

    attempt_id: AttemptId
    places: tuple[Any, ...] | None
    problem: str | None = None


class Kept(Control, frozen=True):
    """A version of a generation is in the file `name`, of `nbytes`: the keeper's reply to `Keep`.

    `name` is None if the file could not be written or opened; the collector sends this if its slice raised an error.
    """

    collector_id: CollectorId
    version: int
    name: str | None
    nbytes: int = 0


class Saved(Control, frozen=True):
    """A checkpoint is on disk, written in `seconds`: the keeper's reply to `Save`. Its id is None if `problem` says why not.

    `copy_problem` is why it is not in the other place, if the store has one.
    """

    attempt_id: AttemptId
    checkpoint_id: CheckpointId | None
    nbytes: int
    seconds: float
    problem: str | None
    copy_problem: str | None = None


class Reconfigure(Control, frozen=True):
    """Apply `meter`'s limits and `baseline_bytes` at once, and use `view` for the next collectors; reply `Reconfigured`.

    Sent by the composition root at a reload. `view` differs only in the sizes at which a slice retires.
    """

    meter: Meter
    baseline_bytes: int
    view: View
    reply_to: ReplyTo[Reconfigured]


class Reconfigured(Struct, frozen=True):
    """The reply to `Reconfigure`: the new limits dropped `dropped` generations."""

    dropped: int


# To the guardian -----------------------------------------------------------------------------------------------------


class Failed(Control, frozen=True):
    """An actor raised `error` at a message of class `kind`. Sent by the base class of every actor.

    If `held`, its data waits until the guardian sends `Recover` to `healer`.
    """

    healer: Address[Recover]
    stream: str
    name: str
    kind: str
    error: BaseException
    held: bool


class FailureNarrowed(Control, frozen=True):
    """The last failures of `stream` narrowed the search for a bad record: do not count them. Sent by the front end."""

    stream: str


class Undelivered(Control, frozen=True):
    """A message of class `kind` did not reach the actor `name`, which is full or has stopped. From the base class of actors."""

    stream: str
    name: str
    kind: str
    reason: str


# To any actor --------------------------------------------------------------------------------------------------------


class Recover(Control, frozen=True):
    """Resume after a failure, from the last good state. Sent by the guardian; every actor accepts it."""


# What each actor accepts ---------------------------------------------------------------------------------------------

FrontEndMessage = (
    Poll
    | Watch
    | Begin
    | Proceed
    | Activate
    | Ingested
    | Returned
    | Unfinished
    | IngestFailed
    | DeadWritten
    | DeadSecured
    | Drain
)

SetCollectorMessage = Ingest | CompressNext | InputEnded | Discard | Read | Snapshot | Archive | Spill | Mapped | Shed | Coarsen

PublisherMessage = Emit | Look | GetPlace | GetCommitted | Restore | Halt | Prepare | Commit

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
    | Delayed
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
