"""The messages to a gatherer, beside those of the gateway in `actors.replies`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from actors.messages import Delayed, Look, ManagerAddress, Reconfigure
from actors.protocol import Busy, Control, Data, QueryId, ReplyTo
from actors.replies import Answer, Coverage, GetShards, GetStats, Progress, Query, Stats, TooMuch
from actors.timeline.span import Span


class Place(Struct, frozen=True):
    """Where a shard is: the process `pid` has it, and listens at `host` and `port`. A later lease has a larger `epoch`."""

    host: str
    port: int
    epoch: int
    pid: int | None = None


class Reading(Protocol):
    """How far the source of a shard has read. Times are monotonic, in seconds. Any thread may ask."""

    def caught_up_at(self) -> float | None:
        """Return when the source had read what was there when the lease began; None if it has not, or must read it again."""

    def whole_at(self, taken_at: float) -> float | None:
        """Return until when all records were read, -inf if that is unknown; None if some came after `taken_at`."""

    @property
    def news_at(self) -> float:
        """When the last record came; -inf before the first one."""


def _nothing() -> None:
    """Need no news."""


class Hold(Control, frozen=True):
    """Ask the shard here from now on: this process has it. Sent by the composition root.

    Until its slices have all that was there when its lease began, by its `reading`, it gives no answers, and the process that
    had it before is asked. Then `on_ready` is called, on the thread of the gatherer; it may be called again.
    """

    shard: int
    epoch: int
    manager: ManagerAddress
    reading: Reading
    on_ready: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Moved(Busy):
    """There is no part, because the shard answers at another place by now: a later lease."""

    place: Place


class Release(Control, frozen=True):
    """Ask the shard here no longer: this process has given it back. Sent by the composition root."""

    shard: int


class Locate(Control, frozen=True):
    """Another process has the shard, or if `place` is None, no holder is known. Sent by the composition root."""

    shard: int
    place: Place | None


CARRIED: Any = object()
"""The partial of a shard if that of another one, from the same process, has all that it had."""


class Part(Struct, frozen=True):
    """A shard's part of an answer. `idle`: the shard has read all records that there are. `nbytes`: as it was sent, else 0.

    `silence` is the time of the shard's stream while it is idle. It goes on with the clock, by `per_s` units a second.

    Ages are seconds before the part was made. If the shard is idle, it had read all records that there were at the age
    `whole_s`, None if that is unknown. Its last record came at the age `news_s`, None if none has come since it began. `past`
    has watermarks, the newest first, each with the age at which it was known.
    """

    partial: Any
    coverage: Coverage
    origin: tuple[tuple[int, int], ...] | None
    idle: bool
    epoch: int
    nbytes: int = 0
    silence: int | None = None
    per_s: int = 1_000
    whole_s: float | None = None
    news_s: float | None = None
    past: tuple[tuple[float, int], ...] = ()


class Ask(Data, frozen=True):
    """Reply the `Part` of one shard, if this process has it by the lease `epoch`. Sent for another process of the cluster."""

    shard: int
    epoch: int
    span: Span
    arguments: Any
    deadline_s: float
    reply_to: ReplyTo[Part]
    admit: Callable[[int, int], TooMuch | None] | None = None


class Known(NamedTuple):
    """What a shard knows when it is asked: its progress, its missing ranges, and `past`, see `Past.at`."""

    progress: Progress
    missing: int
    past: tuple[tuple[float, int], ...]


class Consult(Query, frozen=True, kw_only=True):
    """A query of the gatherer to the manager of a shard here. `known` gets what that knows, before it reads any slice."""

    known: Callable[[Known], None]


class Arrived(Control, frozen=True):
    """All parts that a query waits for may be there. The gatherer sends this to itself."""

    query_id: QueryId


class Probed(Control, frozen=True):
    """Whether the process that has the shard by the lease `epoch` answers at all. The gatherer sends this to itself."""

    shard: int
    epoch: int
    alive: bool


class Probe(Control, frozen=True):
    """Ask the process that had the shard by the lease `epoch` for a sign of life. The gatherer sends this to itself."""

    shard: int
    epoch: int


class Doubt(Control, frozen=True):
    """A query has waited for a while: probe the shards that it waits for. The gatherer sends this to itself."""

    query_id: QueryId


class Late(Control, frozen=True):
    """The deadline of a query has passed. The gatherer sends this to itself."""

    query_id: QueryId


class Check(Control, frozen=True):
    """Look whether the slices of a shard here have what was there when its lease began. The gatherer sends this to itself."""

    shard: int
    epoch: int


class Checked(Control, frozen=True):
    """The stats of a shard here that had read all that at `caught_up_at`. The gatherer sends this to itself."""

    shard: int
    epoch: int
    caught_up_at: float
    stats: Stats | Busy


class Counted(Control, frozen=True):
    """The stats of a shard of this process, or the reason without them. The gatherer sends this to itself."""

    number: int
    shard: int
    stats: Stats | Busy


GathererMessage = (
    Query
    | GetStats
    | GetShards
    | Reconfigure
    | Delayed
    | Ask
    | Hold
    | Release
    | Locate
    | Arrived
    | Probed
    | Probe
    | Doubt
    | Late
    | Check
    | Checked
    | Counted
)


class Gathered(Control, frozen=True):
    """The answer of all shards to the question `number`, or the reason without one. The issuer sends this to itself."""

    number: int
    answer: Answer | Busy


IssuerMessage = Look | Gathered
