"""The routes of a funnel: totals by step, the sequences of a time range, and the events of a key."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.timeline.span import EVER
from actors.views.funnel import arguments
from actors.views.funnel.arguments import PERIODS, STATES, Cursor, Listing, Period, State, Story, Totals
from gateway.answer import RANGE, ROWS, asked, range_header, rendered, rows_header
from gateway.api import params
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, OF_FUNNELS, forms
from gateway.api.operation import Link, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.schemas import Count, CoverageReport
from gateway.stream import Served
from gateway.summary import ZONE

_Meta = msgspec.Meta
_MOST = 1_000_000

_Share = Annotated[float, _Meta(ge=0)]
_Seconds = Annotated[float, _Meta(ge=0)]


class StepRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sequences that reached a step."""

    step: str
    reached: Annotated[Count, _Meta(description="Sequences that have this step.")]
    open: Annotated[Count, _Meta(description="Of these, those without the next step that may still get it.")]
    lapsed: Annotated[Count, _Meta(description="Of these, those without the next step that cannot get it any more.")]
    ofPrevious: Annotated[_Share | None, _Meta(description="The share of those that reached the step before.")]  # noqa: N815
    ofFirst: Annotated[_Share | None, _Meta(description="The share of those that reached the first step.")]  # noqa: N815
    p50: Annotated[_Seconds | None, _Meta(description="The median of the seconds from the step before; null without any.")]
    p95: Annotated[_Seconds | None, _Meta(description="The 95th percentile of these seconds.")]
    max: Annotated[_Seconds | None, _Meta(description="The most of these seconds.")]
    start: (
        Annotated[int, _Meta(description="With `by`: the start of the period, in the stream's unit.")] | msgspec.UnsetType
    ) = msgspec.UNSET


class FunnelAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The steps in order; with `by`, of each period."""

    steps: list[StepRow]
    complete: Annotated[Count, _Meta(description="Sequences that have all steps.")]
    open: Annotated[Count, _Meta(description="Sequences that may still get their next step.")]
    lapsed: Annotated[Count, _Meta(description="Sequences that cannot get their next step any more.")]
    coverage: CoverageReport | msgspec.UnsetType = msgspec.UNSET


class KeyEvent(msgspec.Struct, frozen=True):
    """An event of a key."""

    key: Annotated[str | int, _Meta(description="As in the records: a number is a number here too.")]
    time: Annotated[int, _Meta(description="In the stream's unit.")]
    step: str
    sequence: Annotated[int | None, _Meta(description="The number of the sequence of this key, from 1 on; null: none.")]
    state: Annotated[str, _Meta(description="complete, open or lapsed: that of the sequence; unmatched without one.")]
    reason: Annotated[str | None, _Meta(description="Why the event stands in no sequence.")]


class KeyStory(msgspec.Struct, frozen=True, omit_defaults=True):
    """The events of a key, by time."""

    events: list[KeyEvent]
    coverage: CoverageReport | msgspec.UnsetType = msgspec.UNSET


BY = params.Choice(name="by", description="Count by this period. Absent: the whole range at once.", words=PERIODS)
STATE = params.Choice(name="state", description="Only sequences of this state. Absent: all.", words=STATES)
KEY = params.Text(
    name="key",
    description="Only sequences of this key. The digits of a whole number name the text and the number.",
    pattern=r"[\s\S]*",
    read=lambda text: text.encode(errors="surrogateescape"),
    expected="a key",
)
LIMIT = params.Integer(
    name="limit", description="Sequences at most. If more follow, the answer has their cursor.", low=1, high=_MOST
)
CURSOR = params.Text(
    name="cursor",
    description="The `next` of a page: returns the sequences after that page.",
    pattern=arguments.CURSOR,
    read=Cursor.parse,
    expected="the `next` of a page of this stream",
)
OF_KEY = params.InPath(
    name="key",
    description="The key, percent-encoded. Digits name the text and the whole number.",
    form={"type": "string"},
    rest=True,
)


class Routes:
    """Endpoints of one funnel, under its own name."""

    statuses = OF_FUNNELS
    """The further status codes of its answers, those of its figures too."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._start, self._end = params.range_of(stream.unit_of, "Sequences whose first event is")
        self._missing = params.Choice(name="missing", description="Only sequences without this step.", words=stream.steps)

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        name, row = self._stream.name, sequence_schema(self._stream.steps)
        path = f"/{name}/sequences"
        listed = ("startTime", "endTime", "state", "missing", "key", "limit")
        following = {**{each: f"$request.query.{each}" for each in listed}, "cursor": "$response.body#/next"}
        page = {
            "type": "object",
            "properties": {
                "sequences": {"type": "array", "items": row},
                "next": {"type": "string", "description": "The cursor of the sequences that follow; absent at the end."},
                "coverage": {"$ref": "#/components/schemas/CoverageReport"},
            },
            "required": ["sequences"],
        }
        common = (WITH_COVERAGE, FORM, IF_NONE_MATCH)
        return [
            Operation(
                method="GET",
                path=f"/{name}",
                endpoint=self.totals,
                tag=name,
                answer=FunnelAnswer,
                parameters=(self._start, self._end, BY, ZONE, *common),
                forms=forms("a step a line", StepRow),
                statuses=self.statuses,
                headers={**COVERAGE, **RANGE, **CACHING},
            ),
            Operation(
                method="GET",
                path=path,
                endpoint=self.sequences,
                tag=name,
                answer=page,
                parameters=(self._start, self._end, STATE, self._missing, KEY, LIMIT, CURSOR, *common),
                forms=forms("a sequence a line", row),
                statuses=self.statuses,
                headers={**COVERAGE, **ROWS, **RANGE, **CACHING},
                links={"next": Link(path=path, parameters=following, description="The next page, if there is one.")},
            ),
            Operation(
                method="GET",
                path=f"/{name}/keys/{{key}}",
                endpoint=self.story,
                tag=name,
                answer=KeyStory,
                parameters=(OF_KEY, *common),
                forms=forms("an event a line", KeyEvent),
                statuses=self.statuses,
                headers={**COVERAGE, **CACHING},
            ),
        ]

    async def totals(self, request: Request) -> Response:
        """Sequences that reached each step, by the time of their first event.

        A sequence has one event of each step up to the last one that it reached. Times between steps are seconds.
        """
        span = params.between(request, self._start, self._end)
        wanted = Totals(cast("Period | None", BY.of(request)), ZONE.of(request))
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, wanted, hold)
            remarks = await asyncio.to_thread(answer.view.remarks, answer.partial, wanted)
            coverage = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            return await rendered(
                answer,
                FORM.of(request),
                hold,
                request=request,
                members={**remarks, **coverage},
                headers=range_header(span),
                heavy=True,
            )

    async def sequences(self, request: Request) -> Response:
        """Sequences whose first event lies in [startTime, endTime), by that time.

        JSON has `next` if there are more sequences than `limit` or http.max_rows. The other formats have no place for it.
        """
        span, limit = params.between(request, self._start, self._end), self._limit(request)
        missing = self._missing.of(request)
        wanted = Listing(
            cast("State | None", STATE.of(request)),
            None if missing is None else self._stream.steps.index(missing),
            KEY.of(request),
            limit,
            CURSOR.of(request),
        )
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, wanted, hold)
            members = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = {**rows_header(limit), **range_header(span)}
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True)

    async def story(self, request: Request) -> Response:
        """Events of a key, by time: in which sequence each stands, or why in none.

        Events of dropped collectors are missing. A key without events has an empty list.
        """
        key = OF_KEY.of(request).encode(errors="surrogateescape")
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, EVER, Story(key), hold)
            members = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, heavy=True)

    def _limit(self, request: Request) -> int:
        most = self._asker.allowance.now.max_rows
        return min(LIMIT.of(request) or most, most)


def sequence_schema(steps: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of a sequence of a stream with these steps."""
    time = {"type": ["integer", "null"]}
    return {
        "type": "object",
        "properties": {
            "key": {"type": ["string", "integer"], "description": "As in the records: a number is a number here too."},
            "state": {"enum": list(STATES)},
            "steps": {
                "type": "object",
                "description": "The time of each step in the stream's unit; null: it is missing.",
                "properties": dict.fromkeys(steps, time),
                "required": list(steps),
                "additionalProperties": False,
            },
            "lapsesAt": {**time, "description": "The last time at which a further step counts; null if it is complete."},
        },
        "required": ["key", "state", "steps", "lapsesAt"],
        "additionalProperties": False,
    }
