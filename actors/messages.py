"""Every message between actors, and every reply: the table of contents of the engine.

Messages are frozen and carry immutable columns. Commands are imperative, facts are past. Each says the lane it travels in;
a message without a reply address is never answered. The gateway knows this file and one address a stream, nothing more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pykka

from actors.mailbox import Lane
from actors.timeline.refusals import Refused
from actors.timeline.span import Span
from actors.views.view import Due, Events, Meta, View

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
class Activate(_Control):
    """Send events to `collector` from now on, once all that went to another one are taken in."""

    collector: Address


@dataclass(frozen=True, slots=True)
class Ingested(_Control):
    """A micro-batch of `events` was taken in: the credit comes back."""

    events: int


@dataclass(frozen=True, slots=True)
class Returned(_Control):
    """A micro-batch that came after the collector had retired: for its successor, with the credit."""

    message: "Ingest"


@dataclass(frozen=True, slots=True)
class Drain(_Control):
    """Stop reading, send on what is held, and reply `Drained` when all of it is taken in."""

    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Drained:
    """The reply to `Drain`: nothing is on its way any more."""

    progress: "Progress"


# To a set collector --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ingest(_Data):
    """Take in a micro-batch, or none; before `watermark` nothing else is expected. `idle`: the stream is silent or ended."""

    batch: Events | None
    watermark: int | None
    idle: bool = False

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
class Shed(_Control):
    """Forget about `nbytes` of what waits for a match, as memory is short."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Coarsen(_Control):
    """Give up exactness for memory, as the view can. To an aged collector."""


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


@dataclass(frozen=True, slots=True)
class Look(_Control):
    """See what the sinks have delivered. The publisher sends it to itself."""


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


# To the manager ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attached(_Control):
    """The front end is there and waits for a collector."""

    front_end: Address


@dataclass(frozen=True, slots=True)
class Progress(_Control):
    """How far the front end has come. Its counters only grow; `records` is all that was read."""

    state: str = "starting"
    records: int = 0
    events: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    late: int = 0
    buffered: int = 0
    in_flight: int = 0
    buffered_bytes: int = 0
    watermark: int | None = None
    held_back_by: int | None = None
    lag: Mapping[int, int] = field(default_factory=dict)
    epoch: int = 0
    first_record_at: float | None = None


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
    """What collector `collector` read of query `number`."""

    number: int
    collector: int
    partial: Any


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
    yet. Before `final_until` no late event changes a pair any more.
    """

    complete_from: int | None
    complete_to: int | None
    final_until: int | None
    missing: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to `Query`: a merged partial, and the view that can render it."""

    view: View
    partial: Any
    span: Span
    arguments: Any
    coverage: Coverage


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
class Stats:
    """The reply to `GetStats`: the collectors oldest first, the active one last, and what is beside them."""

    view: View
    gone: Any
    aged: tuple[Meta, ...]
    active: Meta
    memory: Memory
    coverage: Coverage
    progress: Progress
    dropped: Mapping[str, int]
    dropped_generations: Mapping[str, int]
    last_batch_at: float | None


# To the guardian -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failed(_Control):
    """An actor raised `error` at a message of the kind `kind`. `held` says that it waits for `Recover`."""

    actor: Address
    stream: str
    name: str
    kind: str
    error: BaseException
    held: bool


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
class Health:
    """The reply to `GetHealth`. `degraded` names each stream that was given up, with the reason."""

    degraded: Mapping[str, str]
    restarts: Mapping[str, int]
    dead_letters: int
    newest: tuple[DeadLetter, ...]
