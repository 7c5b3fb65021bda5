"""The requests that the gateway sends to actors, and their replies. The gateway sees the engine through this file alone.

Each request has a `reply_to`; the reply is one of the classes here, or `Busy`. All are frozen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.protocol import Busy as Busy  # noqa: PLC0414  # a reply like the others, which mypy lets through only so
from actors.protocol import Control, Data, ReplyTo
from actors.timeline.refusals import Refused
from actors.timeline.span import Span
from actors.views.view import Meta, View


@dataclass(frozen=True, slots=True)
class Query(Data):
    """Answer with all that lies in `span`; reply `Answer` within `deadline_s`, whole or not."""

    span: Span
    arguments: Any
    deadline_s: float
    reply_to: ReplyTo["Answer"]


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
class Progress(Control):
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
class GetStats(Data):
    """Reply `Stats`."""

    reply_to: ReplyTo["Stats"]


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


@dataclass(frozen=True, slots=True)
class GetPlace(Data):
    """Reply where the `order`-th record lies that was published, as a `Place`, or None."""

    order: int
    reply_to: ReplyTo["Place | None"]


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a file: `length` of them from `start` on."""

    path: Path
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Write(Data):
    """Write records to the stream's topic, each to the partition that its shard says; reply `Written`, or `Busy`."""

    values: Sequence[bytes]
    shards: Sequence[int]
    reply_to: ReplyTo["Written"]


@dataclass(frozen=True, slots=True)
class WriteToAll(Data):
    """Write one record with this key and value to every partition; reply `Written`, or `Busy`."""

    key: bytes
    value: bytes
    reply_to: ReplyTo["Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """Kafka has acknowledged every record; `offsets` has the last one of each partition that got some."""

    offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class GetHealth(Data):
    """Reply `Health`."""

    reply_to: ReplyTo["Health"]


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
