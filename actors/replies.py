"""The requests that the gateway sends to actors, and their replies. The gateway knows no other message of the engine.

Each request has a `reply_to`; the reply is one of the classes here, or `Busy`. All are frozen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from actors.protocol import Busy as Busy  # noqa: PLC0414  # a reply like the others, which mypy lets through only so
from actors.protocol import Control, Data, ReplyTo
from actors.timeline.refusals import Refused as Refused  # noqa: PLC0414  # a part of a reply
from actors.timeline.samples import Sample as Sample  # noqa: PLC0414
from actors.timeline.samples import cut_headers as cut_headers  # noqa: PLC0414  # for records that the gateway shows
from actors.timeline.samples import cut_key as cut_key  # noqa: PLC0414
from actors.timeline.samples import cut_value as cut_value  # noqa: PLC0414
from actors.timeline.span import Span
from actors.timeline.unit import Unit
from actors.views.view import Meta, View


class Query(Data, frozen=True):
    """Reply an `Answer` about `span` (in the stream's unit) within `deadline_s` seconds.

    Slices that have not replied by then are named in the answer's coverage.

    If `admit` is given, the manager calls it on its thread before it reads any slice, with the bytes that the answer takes at
    most and the unused bytes of the stream's memory budget. Its result is None, or `TooMuch`, which is the reply then.
    A query of the service itself `counts` as no query in the metrics.
    """

    span: Span
    arguments: Any
    deadline_s: float
    reply_to: ReplyTo["Answer"]
    admit: Callable[[int, int], "TooMuch | None"] | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class TooMuch(Busy):
    """The reply to a `Query` whose answer needs up to `nbytes` of memory, of which only `free_bytes` are free."""

    nbytes: int
    free_bytes: int


Lasting = Literal["too large", "forbidden", "invalid"]
"""Why Kafka will refuse a record again: its length, a missing right, or a rule of the topic, such as a key that it needs."""


@dataclass(frozen=True, slots=True)
class Unacceptable(Busy):
    """The reply to a `Write` that Kafka refuses for a reason that a repetition does not change."""

    kind: Lasting


@dataclass(frozen=True, slots=True)
class Unanswerable(Busy):
    """The reply to a `Query` that has no answer, for a reason that a repetition does not change."""


class Coverage(Struct, frozen=True):
    """The times for which an answer is complete: [complete_from, complete_to) without the spans in `missing`.

    `complete_from` is None if nothing was dropped since the stream's beginning. `complete_to` is the watermark: the answer is
    complete before this time (exclusive). It is None if no event was read yet, or if a partition with unread records has not
    delivered any. A set whose first time is before `final_until` does not change; a late event may still add a set.
    `absent` names the shards of a cluster that gave no part of the answer.
    """

    complete_from: int | None
    complete_to: int | None
    final_until: int | None
    missing: tuple[Span, ...] = ()
    absent: tuple[str, ...] = ()


class Answer(Struct, frozen=True):
    """The reply to `Query`: a merged partial, and the view that can render it.

    `origin` lists the frozen slices that it was read from, as (collector id, revision): for one view, equal queries with equal
    origins have equal answers. It is None if a live slice or a dropped one contributes, or if a slice did not reply.
    """

    view: View
    partial: Any
    span: Span
    arguments: Any
    coverage: Coverage
    origin: tuple[tuple[int, int], ...] | None = None


Troubled = Literal["absent", "unreachable", "refused", "damaged", "stalled"]

NEXT: Mapping[Troubled, str] = {
    "absent": "create the topic, or name another one as source.topic; with source.partitions the service creates it",
    "unreachable": "start the broker, or correct kafka.bootstrap.servers or kafka.security.protocol",
    "refused": "grant this user the rights DESCRIBE and READ of the topic, or give another user in kafka",
    "damaged": "repair the log, or set source.on_damage: skip, which counts the offsets of the batch as missed",
    "stalled": "wait: a fresh Kafka client is tried again and again",
}
"""What an operator can do next."""


class Trouble(Struct, frozen=True):
    """Why a source gives no records, since when (seconds since 1970), and the reasons for people.

    `absent`: there is no topic. `unreachable`: brokers do not answer, or do not let the client in. `refused`: a right is
    missing. `damaged`: a batch cannot be read, and is not to be skipped. `stalled`: brokers answer and have records, but the
    client gets none.
    """

    state: Troubled
    since: float
    reasons: tuple[str, ...]


class Progress(Control, frozen=True):
    """The front end's progress. Its counters only fall when the stream goes back to a checkpoint.

    `records` counts all records read, `other` those that are of no interest to the view; `newest` has the last ones, and
    `refused` the last ones that were refused, the newest first. `in_flight` counts events that are in no slice yet; at
    `credits` of them the front end stops reading. `late_by_silence` counts the late events that only the time of a silence had
    passed. `ahead` counts the events whose times could not be yet when they came; `apart` of them wait for their times, the
    earliest for `apart_from`. `transactions` has the first offset of each partition's open transaction, if it has one.
    `offsets` has the next offset to read and `lag` the unread records of each partition. `trouble` is why no records come,
    None if they can; `last_record_at` is when the newest record was read (seconds since 1970). `silence` is the stream's time
    while every record is read and none comes: it goes on with the clock. `unit` is that of the times, None if the axis is not
    time. `since_start` has this process's counts, see `Tally`. All records that were polled by `taken_at` (monotonic) are in.
    """

    state: str = "starting"
    records: int = 0
    events: int = 0
    other: int = 0
    rejects: Mapping[str, int] = {}
    refused: tuple[Refused, ...] = ()
    newest: tuple[Sample, ...] = ()
    late: int = 0
    late_by_silence: int = 0
    ahead: int = 0
    apart: int = 0
    apart_from: int | None = None
    buffered: int = 0
    in_flight: int = 0
    credits: int = 0
    buffered_bytes: int = 0
    watermark: int | None = None
    silence: int | None = None
    held_back_by: int | None = None
    transactions: Mapping[int, int] = {}
    offsets: Mapping[int, int] = {}
    lag: Mapping[int, int] = {}
    epoch: int = 0
    first_record_at: float | None = None
    last_record_at: float | None = None
    trouble: Trouble | None = None
    unit: Unit | None = None
    since_start: Mapping[str, int] = {}
    taken_at: float = 0.0

    @property
    def held_back_because(self) -> str | None:
        """Why the partition `held_back_by` holds the watermark back; None if no partition does."""
        if self.held_back_by is None:
            return None
        offset = self.transactions.get(self.held_back_by)
        return "records that are not read yet" if offset is None else open_transaction(offset)


def open_transaction(offset: int) -> str:
    """Describe a transaction that is not committed yet, by its first offset."""
    return f"an open transaction since offset {offset}"


class GetStats(Data, frozen=True):
    """Reply `Stats`."""

    reply_to: ReplyTo["Stats"]


class Memory(Struct, frozen=True):
    """Memory in bytes: the budget, the bytes accounted, of these the empty process's (`baseline_bytes`), and the resident set.

    `emergencies` counts the generations that the emergency brake dropped.
    """

    budget_bytes: int
    accounted_bytes: int
    baseline_bytes: int
    rss_bytes: int
    emergencies: int


class Durability(Struct, frozen=True):
    """The newest checkpoint: its id, when it was saved (`at`, seconds since 1970), how long that took, and its bytes.

    `failed` counts failed checkpoints since then; `problem` is the last reason. `lost` describes files that could not be read
    at the start. `loading` is (generations read, generations in all) during the start. `failures`, `saved` and `seconds_in_all`
    count since the process began. `doubt` describes results that may come twice or be missing; `refused` is the reason why the
    stream does not begin. `copy_problem` is the reason why the newest checkpoint is not in the checkpoint topic of a cluster.
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
    doubt: str | None = None
    refused: str | None = None
    copy_problem: str | None = None


class Pruned(Struct, frozen=True):
    """A dropped generation: its collector id, contents, the reason, and when (`at`, seconds since 1970)."""

    number: int
    span: Span | None
    events: int
    nbytes: int
    reason: str
    at: float


class Stats(Struct, frozen=True):
    """The reply to `GetStats`: the collectors oldest first, the active one last, and the stream's counters.

    `numbers` has their ids in the same order; a generation keeps its id until the stream recovers from a failure or restarts.
    `gone` is the summary of the dropped generations, and `pruned` lists the newest of these, newest first. `since_start` has
    this process's counts, see `Tally`. `output_problem` is the reason why a sink accepts no results now. `by_shard` has the
    stats of each shard of this process, which these are the sums of; None unless the stream is spread over a cluster.
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
    since_start: Mapping[str, int] = {}
    output_problem: str | None = None
    by_shard: "Mapping[int, Stats] | None" = None


class GetShards(Data, frozen=True):
    """Reply the `ShardState` of each shard of a stream that is spread over the processes of a cluster."""

    reply_to: ReplyTo["tuple[ShardState, ...]"]


class ShardState(Struct, frozen=True):
    """Who has a shard, as this process knows it: `here`, `elsewhere`, or `nowhere` if the process that had it does not answer.

    `catching up`: its process still reads what came before. The process `pid` is at `host` and `port`, and has the shard by the
    lease `epoch`. `lag` counts its unread records, and `nbytes` is the memory that its generations take. What is not known is
    None, such as the figures of a process that does not answer. `problems` are its present ones.
    """

    shard: int
    state: Literal["here", "catching up", "elsewhere", "nowhere"]
    host: str | None = None
    port: int | None = None
    epoch: int | None = None
    pid: int | None = None
    lag: int | None = None
    nbytes: int | None = None
    problems: tuple[str, ...] = ()


class GetPlace(Data, frozen=True):
    """Reply the `Place` of the published record number `order` in the sink's file, or None if it has no such record."""

    order: int
    reply_to: ReplyTo["Place | None"]


class Place(Struct, frozen=True):
    """`length` bytes of a file, from the offset `start` on."""

    path: Path
    start: int
    length: int


class Write(Data, frozen=True):
    """Write records to the stream's topic, each to the partition of its key; reply `Written`.

    If no record was taken, reply `Busy` or `Unacceptable`. At `until` (a monotonic time) the reply says what is known by then,
    and a second one comes when everything is known. A request that is not begun by then writes nothing.
    """

    values: Sequence[bytes]
    keys: Sequence[bytes]
    reply_to: ReplyTo["Written"]
    until: float = math.inf


class WriteToAll(Data, frozen=True):
    """Write one record with this key and value to every partition; reply as to `Write`, also at `until`."""

    key: bytes
    value: bytes
    reply_to: ReplyTo["Written"]
    until: float = math.inf


class Written(Struct, frozen=True):
    """What came of the records. `offsets` has the last offset written to each partition.

    Kafka has acknowledged `acknowledged` records. `refused` records are not written, because of `problem`. `open` records are
    under way, or Kafka has not answered in time: they may be written or not.
    """

    offsets: Mapping[int, int]
    acknowledged: int = 0
    refused: int = 0
    open: int = 0
    problem: str | None = None


class GetHealth(Data, frozen=True):
    """Reply `Health`."""

    reply_to: ReplyTo["Health"]


class DeadLetter(Struct, frozen=True):
    """One message that failed or was refused: when (`at`, seconds since 1970), at which actor, its class, and the reason."""

    at: float
    stream: str
    actor: str
    kind: str
    reason: str


class ActorVitals(Struct, frozen=True):
    """The mailboxes of `count` actors of one class and `state`, summed: the waiting messages and the capacity of each lane.

    A collector is active or aged; other actors have no state. `held` of the actors take no data until they have recovered from
    a failure. `counted` has the sums of their counters, by name.
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
    counted: Mapping[str, int] = {}


class Health(Struct, frozen=True):
    """The reply to `GetHealth`. `degraded` has each stream that was given up, with the reason.

    `newest` lists the newest dead letters, newest first. `threads` has the seconds that each thread has spent on its present
    task; 0 if it waits for one. `worked` has the seconds of CPU that each has taken since it began.
    """

    degraded: Mapping[str, str]
    restarts: Mapping[str, int]
    dead_letters: int
    newest: tuple[DeadLetter, ...]
    actors: tuple[ActorVitals, ...] = ()
    threads: Mapping[str, float] = {}
    worked: Mapping[str, float] = {}
