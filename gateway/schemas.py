"""The JSON of the service as types. The endpoints write them, and `/openapi.json` describes them from here.

Every field has its meaning and its unit. Times named `…At` are seconds since 1970 by this machine's clock; times of events are
in the unit of their stream.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import msgspec

from actors.replies import NEXT, Coverage, Refused, ShardState, Trouble
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS

Count = Annotated[int, msgspec.Meta(ge=0)]

_Meta = msgspec.Meta
*_FIRST, _LAST = VIEWS


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The base of all types here: member names are in camel case."""


Range = Annotated[
    list[int | None],
    _Meta(min_length=2, max_length=2, description="Times [start, end): the second is not in it. null: no bound is known."),
]

AnswerSpan = Annotated[
    Range | None, _Meta(description="The times of its answers: of sets, their first events. null without answers.")
]


def bound(time: int | None) -> int | None:
    """Return a time as JSON has it: null for None, and if it stands for the beginning or the end of all time."""
    return time if time is not None and EVER.start < time < EVER.end - 1 else None


def bounds_of(span: Span) -> list[int | None]:
    """Return a span as JSON has it: [start, end)."""
    return [bound(span.start), bound(span.end)]


class Error(Answer, frozen=True):
    """What was expected, what came instead, and in which part of the request."""

    status: Annotated[int, _Meta(ge=400, le=599, description="The HTTP status.")]
    where: Annotated[str, _Meta(description="The part of the request, such as `query startTime`, or `service`.")]
    expected: Annotated[str, _Meta(description="A valid value, or a condition.")]
    got: Annotated[str, _Meta(description="The value in the request; long values are cut off.")]
    request: Annotated[str, _Meta(description="The request's id, as in the header X-Request-Id.")]


class Problem(Answer, frozen=True):
    """The one shape of every error."""

    error: Error


class CoverageReport(Answer, frozen=True, omit_defaults=True):
    """The coverage of an answer: it is exact in [completeFrom, completeTo), except for the spans in `missing`.

    In the stream's unit, which `/streams` names: ms for uniques and words too, and batch ids for segments.
    """

    complete_from: Annotated[int | None, _Meta(description="null: from the beginning of the stream.")]
    complete_to: Annotated[int | None, _Meta(description="Complete before this time (exclusive); null: no time is known.")]
    final_until: Annotated[int | None, _Meta(description="Answers that begin before do not change; more may come.")]
    missing: Annotated[list[Range], _Meta(description="Ranges in which events are lost.")]
    absent: Annotated[
        list[str], _Meta(description="Shards of a cluster that gave no part, as stream and number: all time is missing.")
    ] = []

    @classmethod
    def of(cls, coverage: Coverage) -> Self:
        """Return the coverage as JSON."""
        return cls(
            complete_from=bound(coverage.complete_from),
            complete_to=bound(coverage.complete_to),
            final_until=bound(coverage.final_until),
            missing=[bounds_of(span) for span in coverage.missing],
            absent=list(coverage.absent),
        )


class About(Answer, frozen=True):
    """The service, and the paths that it answers."""

    service: Literal["firnline"]
    version: str
    paths: Annotated[list[str], _Meta(description="All paths, as templates.")]


class DeadLetterReport(Answer, frozen=True):
    """A message between actors that was not delivered or not handled."""

    at: Annotated[float, _Meta(description="Seconds since 1970.")]
    stream: str
    actor: str
    kind: str
    reason: str


class DeadLetters(Answer, frozen=True):
    """Undelivered messages, and restarts after failures."""

    count: Annotated[Count, _Meta(description="All since the start.")]
    restarts: Annotated[dict[str, Count], _Meta(description="Restarts by stream.")]
    newest: Annotated[list[DeadLetterReport], _Meta(description="The newest of them.")]


Text = Annotated[str, _Meta(description="The first bytes; bytes that are not UTF-8 are escaped.")]
WrittenAt = Annotated[
    float | None, _Meta(description="Its time in Kafka: seconds since 1970. null if it is unknown, as before a checkpoint.")
]


class RecordHeader(Answer, frozen=True):
    """A header of a record."""

    name: Text
    value: Text | None


class Rejected(Answer, frozen=True):
    """A refused record: its place, the reason, its length in bytes, and its first bytes."""

    partition: int
    offset: int
    reason: str
    length: Annotated[Count, _Meta(description="Bytes of the record.")]
    head: Text
    written_at: WrittenAt
    key: Text | None
    headers: Annotated[list[RecordHeader], _Meta(description="The first headers, within 512 bytes.")]

    @staticmethod
    def of(kept: Refused) -> "Rejected":
        """Return a kept record as JSON has it."""
        head, at = text_of(kept.head), written(kept.written_at)
        key = None if kept.key is None else text_of(kept.key)
        return Rejected(kept.partition, kept.offset, kept.reason, kept.length, head, at, key, headers_of(kept.headers))


def text_of(raw: bytes) -> str:
    """Return bytes as text for people."""
    return raw.decode("utf-8", "backslashreplace")


def written(at: int | None) -> float | None:
    """Return a record's own time (ms since 1970) in seconds. Kafka has a negative one for a record without a time."""
    return None if at is None or at < 0 else at / 1_000


def headers_of(headers: Sequence[tuple[str, bytes | None]]) -> list[RecordHeader]:
    """Return the headers of a record as JSON has them."""
    return [RecordHeader(name, None if value is None else text_of(value)) for name, value in headers]


class Rejects(Answer, frozen=True, omit_defaults=True):
    """The records that a stream refused."""

    rejects: Annotated[dict[str, Count], _Meta(description="Refused records by reason, all since the start.")]
    newest: Annotated[list[Rejected], _Meta(description="The newest of them, the newest first.")]
    advice: Annotated[dict[str, str], _Meta(description="What to do about some of the reasons.")] = {}


class TroubleReport(Answer, frozen=True):
    """Why a stream's records cannot be read now."""

    state: Annotated[
        str,
        _Meta(description="absent, unreachable, refused (a right is missing), damaged (a batch cannot be read), or stalled."),
    ]
    since: Annotated[float, _Meta(description="Seconds since 1970.")]
    reasons: list[str]
    next: Annotated[str, _Meta(description="What an operator can do next.")]

    @classmethod
    def of(cls, trouble: Trouble | None) -> Self | None:
        """Return the trouble as JSON."""
        return None if trouble is None else cls(trouble.state, trouble.since, list(trouble.reasons), NEXT[trouble.state])


class ShardReport(Answer, frozen=True):
    """Who has a shard of a stream that is spread over the processes of a cluster."""

    shard: Count
    state: Annotated[
        str,
        _Meta(
            description="here: in this process; elsewhere: in another process; catching up: its process still reads what came "
            "before; nowhere: the process that had it does not answer."
        ),
    ]
    pid: Annotated[int | None, _Meta(description="The id of the process that has it; null: no holder is known.")]
    host: Annotated[str | None, _Meta(description="Where this process listens.")]
    port: int | None
    epoch: Annotated[int | None, _Meta(description="The number of the lease: each move has a larger one.")]
    lag: Annotated[int | None, _Meta(description="Its records that are not read yet; null: its process has not answered.")]
    bytes: Annotated[int | None, _Meta(description="Bytes of memory that its generations take; null as with `lag`.")]
    problems: Annotated[list[str], _Meta(description="What does not go well there now; empty as with `lag`.")]

    @classmethod
    def of(cls, state: ShardState) -> Self:
        """Return a shard as JSON."""
        place = state.pid, state.host, state.port, state.epoch
        return cls(state.shard, state.state, *place, state.lag, state.nbytes, list(state.problems))


class StreamReport(Answer, frozen=True):
    """A stream: its view, its source, its paths, and how far back it is complete."""

    name: str
    view: Annotated[str, _Meta(description=f"The kind of its answers: {', '.join(_FIRST)} or {_LAST}.")]
    state: Annotated[str, _Meta(description="What the stream does; `given up` after too many failures.")]
    trouble: Annotated[TroubleReport | None, _Meta(description="Why no records can be read; null if they can.")]
    source: Annotated[str, _Meta(description="Where its records come from.")]
    time_unit: Annotated[str, _Meta(description="The unit of its times: s, ms, us, ns; or batch, if they are ids.")]
    paths: Annotated[list[str], _Meta(description="Its paths, as templates with their methods.")]
    span: AnswerSpan
    events: Annotated[int, _Meta(description="Events that it holds.")]
    collectors: Annotated[Count, _Meta(description="Collectors that hold them.")]
    coverage: CoverageReport | None
    shards: Annotated[
        list[ShardReport] | msgspec.UnsetType, _Meta(description="The shards of the stream, if it is in a cluster.")
    ] = msgspec.UNSET


class Streams(Answer, frozen=True):
    """All streams."""

    streams: list[StreamReport]
