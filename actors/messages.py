"""Every message between actors, and every reply: the table of contents of the engine.

Messages are frozen and carry immutable columns. Commands are imperative, facts are past. Each says the lane it travels in;
a message without a reply address is never answered. The gateway knows this file and one address a stream, nothing more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pykka

from actors.brake import Meter
from actors.mailbox import Lane
from actors.timeline.refusals import Refused
from actors.timeline.snapshot import State
from actors.timeline.span import Span
from actors.views.view import Due, Events, Frozen, Live, Meta, View

Address = pykka.ActorRef[Any]
ReplyTo = Callable[[Any], None]
"""Takes the reply, on the thread of the actor that gives it; must not block."""

Message = Any


class _Control:
    lane: ClassVar[Lane] = Lane.CONTROL


class _Data:
    lane: ClassVar[Lane] = Lane.DATA


# To the front end ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poll(_Data):
    """Read on, if there are credits. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Watch(_Control):
    """Say how it stands, if nothing can be sent still. The front end sends it to itself."""


@dataclass(frozen=True, slots=True)
class Begin(_Control):
    """Forget everything, know what `state` says instead, and send events to `collector`. None begins at the start.

    What belongs to an earlier `round` does not count any more. `lost`: there was a state, and it could not be read.
    """

    round: int
    collector: Address
    state: State | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Proceed(_Control):
    """The live slice has given its state: read on. Not None: the checkpoint is over as well, and was `saved` or not."""

    saved: bool | None


@dataclass(frozen=True, slots=True)
class Activate(_Control):
    """Send events to `collector` from now on, once all that went to another one are taken in."""

    collector: Address


@dataclass(frozen=True, slots=True)
class Ingested(_Control):
    """A micro-batch of `events` was taken in: the credit comes back."""

    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Returned(_Control):
    """A micro-batch that came after the collector had retired: for its successor, with the credit."""

    message: "Ingest"


@dataclass(frozen=True, slots=True)
class Struck(_Control):
    """A slice has failed at a micro-batch, and waits for a checkpoint to go back to."""

    message: "Ingest"


@dataclass(frozen=True, slots=True)
class Drain(_Control):
    """Stop reading, and reply `Drained` when all that was sent is taken in, and in a checkpoint, where there are any.

    Where there are none, what waits for its turn is sent on first.
    """

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Drained:
    """The reply to `Drain`: nothing is on its way any more."""

    progress: "Progress"


# To a set collector --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ingest(_Data):
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
class Settle(_Data):
    """Compress one more piece. An aged collector sends it to itself."""


@dataclass(frozen=True, slots=True)
class Farewell(_Control):
    """The front end sends nothing to this collector any more."""


@dataclass(frozen=True, slots=True)
class Discard(_Control):
    """Let go of the slice, and stop once the front end has said farewell."""


@dataclass(frozen=True, slots=True)
class Read(_Control):
    """Send the partial answer of query `number` to the manager."""

    number: int
    span: Span
    arguments: Any


@dataclass(frozen=True, slots=True)
class Snapshot(_Control):
    """Send the state of the live slice to the manager, for the checkpoint `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class Archive(_Control):
    """Have the frozen slice written, again, once it has settled."""


@dataclass(frozen=True, slots=True)
class Spill(_Control):
    """Let go of the bytes of the frozen slice, and read them from the file `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Mapped(_Control):
    """The frozen slice over its file of `file_bytes`; it takes `nbytes` of memory. None where that could not be done."""

    frozen: Frozen | None
    nbytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Shed(_Control):
    """Forget about `nbytes` of what waits for a match, as memory is short."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Coarsen(_Control):
    """Give up exactness for memory, as the view can. To an aged collector, which is written again then."""


# To the publisher ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Emit(_Data):
    """Write the answer to `due` to every sink, in the order of `number`; then give the credit of `events` to `front_end`."""

    number: int
    front_end: Address
    view: View
    partial: Any
    due: Due
    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Look(_Control):
    """See what the sinks have delivered. The publisher sends it to itself."""


@dataclass(frozen=True, slots=True)
class GetCommitted(_Control):
    """Send `Committed` to `manager`, which is about to begin a `round`."""

    manager: Address
    round: int = 0


@dataclass(frozen=True, slots=True)
class Restore(_Control):
    """Forget what is under way, and go back to `places`, one a sink; None: to the start. Send `Restored` to `manager`.

    What belongs to an earlier `round` does not count any more.
    """

    round: int
    places: Sequence[Any] | None
    manager: Address


@dataclass(frozen=True, slots=True)
class Prepare(_Control):
    """Make what was written outlast a crash, write nothing more, and send `Prepared` for the checkpoint `number`."""

    number: int
    manager: Address


@dataclass(frozen=True, slots=True)
class Commit(_Control):
    """Go on: with the results of `checkpoint` for all to see, or, where it was given up and is None, as if nothing had been."""

    checkpoint: int | None


@dataclass(frozen=True, slots=True)
class GetPlace(_Data):
    """Reply where the `order`-th record lies that was published, as a `Place`, or None."""

    order: int
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a file: `length` of them from `start` on."""

    path: Path
    start: int
    length: int


# To the writer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write(_Data):
    """Write records to the stream's topic, each to the partition that its shard says; reply `Written`, or `Busy`."""

    values: Sequence[bytes]
    shards: Sequence[int]
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class WriteToAll(_Data):
    """Write one record with this key and value to every partition; reply `Written`, or `Busy`."""

    key: bytes
    value: bytes
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Written:
    """Kafka has acknowledged every record; `offsets` has the last one of each partition that got some."""

    offsets: Mapping[int, int]


# To the keeper -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load(_Data):
    """Read the newest checkpoint that is good, and not newer than its results: they are out up to `committed`, where not None.

    Send `Loading` and `Loaded` to `manager`.
    """

    committed: int | None
    manager: Address
    round: int = 0


@dataclass(frozen=True, slots=True)
class Keep(_Data):
    """Write the generation `number`, as its collector says that it is, for the `version`-th time; send `Kept` to `manager`."""

    number: int
    version: int
    state: State
    manager: Address


@dataclass(frozen=True, slots=True)
class Map(_Data):
    """Send `Mapped` to `collector`: the generation that is in the file `name`, read from there when it is looked at."""

    name: str
    collector: Address


@dataclass(frozen=True, slots=True)
class Save(_Data):
    """Write a checkpoint that names the generations `named`; send `Saved` to `manager`, whose own number for it is `number`."""

    number: int
    state: State
    named: frozenset[str]
    manager: Address


@dataclass(frozen=True, slots=True)
class Reform(_Control):
    """Make slices by `view` from now on, which reads what the one before has written."""

    view: View


# To the manager ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reconfigure(_Control):
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
class Checkpoint(_Control):
    """All that was read is taken in, and the front end waits for `Proceed`. `state` is all that it needs to go on from here."""

    state: State


@dataclass(frozen=True, slots=True)
class Snapped(_Control):
    """The live slice of collector `collector`, for checkpoint `number`; None where it has retired meanwhile."""

    number: int
    collector: int
    state: State | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared(_Control):
    """Where the sinks stand, for checkpoint `number`; or why that cannot be said now."""

    number: int
    places: tuple[Any, ...] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Committed(_Control):
    """The newest checkpoint of which the results are out; None where that is no matter. As asked for `round`."""

    checkpoint: int | None
    round: int = 0


@dataclass(frozen=True, slots=True)
class Restored(_Control):
    """The sinks are where they were told to be, for `round`."""

    round: int


@dataclass(frozen=True, slots=True)
class Loading(_Control):
    """So many of so many generations are read."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Loaded(_Control):
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
class Kept(_Control):
    """Generation `number` is in the file `name`, of `nbytes`; None where it could not be written."""

    number: int
    version: int
    name: str | None
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Saved(_Control):
    """The checkpoint that is the manager's `number` is safe, as `checkpoint`; None where it could not be written."""

    number: int
    checkpoint: int | None
    nbytes: int
    seconds: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class Missed(_Control):
    """Records never came: `count` of them in all, 0 where nobody knows, of one partition. They lay in `span`, as far as known.

    The last one with a `key` counts.
    """

    key: str
    reason: str
    span: Span
    count: int = 0


@dataclass(frozen=True, slots=True)
class Attached(_Control):
    """The front end is there and waits for a collector."""

    front_end: Address


@dataclass(frozen=True, slots=True)
class Progress(_Control):
    """How far the front end has come. Its counters only grow, but for a start again; `records` is all that was read.

    `in_flight` are events that were read and are in no slice yet; of `credits` it waits for word at the most, then it reads
    nothing more. `since_start` is what this process has counted, see `Tally`.
    """

    state: str = "starting"
    records: int = 0
    events: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    late: int = 0
    buffered: int = 0
    in_flight: int = 0
    credits: int = 0
    buffered_bytes: int = 0
    watermark: int | None = None
    held_back_by: int | None = None
    lag: Mapping[int, int] = field(default_factory=dict)
    epoch: int = 0
    first_record_at: float | None = None
    since_start: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grown(_Control):
    """The collector `number` now looks like `meta`; it has taken in everything before `watermark`, where it is active."""

    number: int
    meta: Meta
    watermark: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Retired(_Control):
    """The active collector `number` has frozen: `meta` describes it, `carry` is for its successor."""

    number: int
    meta: Meta
    carry: Any


@dataclass(frozen=True, slots=True)
class Publish(_Control):
    """Something is due to be published. The credit of `events` goes back to the front end once that is delivered."""

    due: Due
    events: int
    round: int


@dataclass(frozen=True, slots=True)
class Forgotten(_Control):
    """Collector `number` has lost events, by reason: it shed them, or failed at them.

    Answers may lack something before `complete_from`, and in `missing`.
    """

    number: int
    events: Mapping[str, int]
    complete_from: int | None = None
    missing: Span | None = None
    shed: bool = False


@dataclass(frozen=True, slots=True)
class Partial(_Control):
    """What collector `collector` read of query `number`; of a frozen slice, with its `revision`: None of a live one."""

    number: int
    collector: int
    partial: Any
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Unread(_Control):
    """Collector `collector` cannot read what query `number` asks for."""

    number: int
    collector: int


@dataclass(frozen=True, slots=True)
class Overdue(_Control):
    """The deadline of query `number` is over."""

    number: int


@dataclass(frozen=True, slots=True)
class Query(_Data):
    """Answer with all that lies in `span`; reply `Answer` within `deadline_s`, whole or not."""

    span: Span
    arguments: Any
    deadline_s: float
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Busy:
    """The reply to any request that could not be taken in or failed, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an answer knows. It is exact in [complete_from, complete_to) but for what is `missing`.

    None for `complete_from` means from the beginning of the stream; for `complete_to`, that nothing is known to be complete
    yet. A set whose first time is before `final_until` neither changes nor goes; a late event may still add one.
    """

    complete_from: int | None
    complete_to: int | None
    final_until: int | None
    missing: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to `Query`: a merged partial, and the view that can render it.

    `origin` are the frozen slices that it was read from, each by its collector's number and its revision: of one view, the same
    question with the same origin has the same answer. None where anything else adds to it, or some slice did not reply.
    """

    view: View
    partial: Any
    span: Span
    arguments: Any
    coverage: Coverage
    origin: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class GetStats(_Data):
    """Reply `Stats`."""

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: the budget, what is accounted against it, of that the process before any event, and the resident set."""

    budget_bytes: int
    accounted_bytes: int
    baseline_bytes: int
    rss_bytes: int
    emergencies: int


@dataclass(frozen=True, slots=True)
class Durability:
    """How checkpoints went: the newest one, when it was saved (seconds since 1970), how long that took, its bytes.

    `failed` are those that could not be written since, with the last `problem`; `lost` is what could not be read at the start.
    `failures`, `saved` and `seconds_in_all` are of all since the process began.
    """

    checkpoint: int = 0
    at: float | None = None
    seconds: float = 0.0
    nbytes: int = 0
    saved: int = 0
    failed: int = 0
    problem: str | None = None
    recovered_from: int = 0
    loading: tuple[int, int] | None = None
    lost: tuple[str, ...] = ()
    failures: int = 0
    seconds_in_all: float = 0.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """A generation that is no more: which it was, what it held, why it went, and when (seconds since 1970)."""

    number: int
    span: Span | None
    events: int
    nbytes: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Stats:
    """The reply to `GetStats`: the collectors oldest first, the active one last, and what is beside them.

    `numbers` are theirs, in the same order: within a process, a generation keeps its number as long as the stream does not
    start again. `pruned` are the newest generations that went, the newest first. `since_start` is what this process has
    counted of the stream, see `Tally`.
    """

    view: View
    gone: Any
    aged: tuple[Meta, ...]
    active: Meta
    memory: Memory
    coverage: Coverage
    progress: Progress
    dropped: Mapping[str, int]
    dropped_generations: Mapping[str, int]
    missed: Mapping[str, int]
    missing: tuple[tuple[str, Span, int], ...]
    last_batch_at: float | None
    durability: Durability | None
    starting: bool
    numbers: tuple[int, ...] = ()
    pruned: tuple[Pruned, ...] = ()
    since_start: Mapping[str, int] = field(default_factory=dict)


# To the guardian -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failed(_Control):
    """An actor raised `error` at a message of the kind `kind`. Where it is `held`, `healer` must be told to `Recover`."""

    healer: Address
    stream: str
    name: str
    kind: str
    error: BaseException
    held: bool


@dataclass(frozen=True, slots=True)
class Excused(_Control):
    """The last failures of `stream` have led nearer to the records at fault: they do not count towards giving it up."""

    stream: str


@dataclass(frozen=True, slots=True)
class Undelivered(_Control):
    """A message of the kind `kind` was not taken in by an actor, for `reason`."""

    stream: str
    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recover(_Control):
    """Go on after a failure, from the last good state. To any actor."""


@dataclass(frozen=True, slots=True)
class GetHealth(_Data):
    """Reply `Health`."""

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that came to nothing: when (seconds since 1970), whose, of what kind, and why."""

    at: float
    stream: str
    actor: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class ActorVitals:
    """The mailboxes of `count` actors of one kind and `state`, summed: messages that wait in each lane, and room for them.

    A collector is active or aged; others have no state. `held` of them wait for a failure to be mended, and take no data.
    `counted` is what they have done since they began, by name.
    """

    stream: str
    actor: str
    state: str
    count: int
    control: int
    control_capacity: int
    data: int
    data_capacity: int
    held: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """The reply to `GetHealth`. `degraded` names each stream that was given up, with the reason.

    `threads` says of each thread for how many seconds it has been at its present task, 0 where it waits for one.
    """

    degraded: Mapping[str, str]
    restarts: Mapping[str, int]
    dead_letters: int
    newest: tuple[DeadLetter, ...]
    actors: tuple[ActorVitals, ...] = ()
    threads: Mapping[str, float] = field(default_factory=dict)
