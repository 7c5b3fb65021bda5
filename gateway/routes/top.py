"""The routes of a dataset: post values, get the ids with the largest values, delete all of them."""

import asyncio
import contextlib
import time
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.replies import Busy, Write, WriteToAll, Written
from actors.timeline.span import EVER
from actors.views.top.arguments import CLEAR_KEY, CLEAR_VALUE, LONGEST, RankOf, Top, key_of
from gateway.answer import ROWS, asked, rendered, rows_header
from gateway.api import params
from gateway.api.errors import NoReply, Problem, busy, not_taken
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms, json_response
from gateway.api.operation import Body, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, coverage_header
from gateway.repeats import Outcome, Repeats
from gateway.schemas import Answer, Count
from gateway.stream import Served

_AT_ONCE = 10_000
"""Ids that are sorted on the event loop; more are sorted in a thread."""

_Meta = msgspec.Meta
_LOOK_S = 0.005
_SHORT_BODY_BYTES = 65_536
"""A body up to this length takes no memory from the account, because its connection may buffer as much anyway."""

_ITEM_BYTES = 192
"""Bytes that Python takes for an item of a body, beside its text."""

_MOST_ITEMS = 100_000
_FORBIDDEN = "The token does not allow this, another site sent the request, or Kafka does not let the service write."


class Posted(Answer, frozen=True):
    """The body of a POST to a dataset."""

    items: Annotated[
        list[str],
        _Meta(
            description="Records `id_value`. A malformed record is counted as refused when it is read.", max_length=_MOST_ITEMS
        ),
    ]


class Taken(Answer, frozen=True):
    """Kafka has acknowledged every item."""

    count: Annotated[Count, _Meta(description="Number of items.")]
    time: Annotated[float, _Meta(description="Seconds until the acknowledgement.")]


class Accepted(Answer, frozen=True, omit_defaults=True):
    """Not every item is acknowledged yet. Repeat the request only with its `Idempotency-Key`."""

    count: Annotated[Count, _Meta(description="Number of items.")]
    acknowledged: Annotated[Count, _Meta(description="Items that Kafka has acknowledged.")]
    accepted: Annotated[Count, _Meta(description="Items under way: Kafka may write them later, or has written them.")]
    refused: Annotated[Count, _Meta(description="Items that are not written.")]
    time: Annotated[float, _Meta(description="Seconds until this answer.")]
    problem: Annotated[str, _Meta(description="Why items are refused, or may be lost.")] = ""


class Cleared(Answer, frozen=True):
    """All items that were acknowledged before are deleted."""

    message: Literal["Dataset cleared"]


ROW: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "An id."},
        {
            "type": "object",
            "description": "With `values=1`: an id and its value.",
            "properties": {"id": {"type": "string"}, "value": {"type": "integer"}},
            "required": ["id", "value"],
            "additionalProperties": False,
        },
    ]
}
IDS = {
    "type": "object",
    "description": "Ids, the largest value first.",
    "properties": {"data": {"type": "array", "items": ROW}},
    "required": ["data"],
    "additionalProperties": False,
}


class Standing(Answer, frozen=True):
    """One id of a dataset."""

    id: str
    value: Annotated[int, _Meta(description="The last value of the id.")]
    rank: Annotated[int, _Meta(ge=1, description="1 for the largest value; of equal values, the larger id comes first.")]


LIMIT = params.Integer(
    name="limit",
    description="Ids at most. Absent, 0 or negative: all, up to http.max_rows.",
    status=422,
)


VALUES = params.Flag(name="values", description="1: each id with its value. CSV and Arrow always have the values.")
ID = params.InPath(name="id", description="The id.", form={"type": "string"}, example="11111111")

KEY = params.Header(
    name="Idempotency-Key",
    description="A name of this request, which the client chooses. A repetition with it writes nothing again.",
)


class Routes:
    """Endpoints of one dataset, under its own name."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._decoder = msgspec.json.Decoder(Posted)
        self._repeats = Repeats()

    def operations(self) -> list[Operation]:
        """Return the table of operations. A dataset that is not read from Kafka cannot be written."""
        name = self._stream.name
        reading = Operation(
            method="GET",
            path=f"/{name}",
            endpoint=self.get,
            tag=name,
            answer=IDS,
            parameters=(LIMIT, VALUES, FORM, IF_NONE_MATCH),
            forms=forms("an id a line, as a JSON string, or an object with its value", ROW),
            statuses={**STATUSES, 422: "`limit` is not an integer."},
            headers={**COVERAGE, **ROWS, **CACHING},
            lenient=True,
        )
        one = Operation(
            method="GET",
            path=f"/{name}/{{id}}",
            endpoint=self.one,
            tag=name,
            answer=Standing,
            parameters=(ID,),
            statuses={404: "The id has no value."},
            headers=COVERAGE,
        )
        if self._stream.writer is None:
            return [reading, one]
        body = Body(type=Posted, example={"items": ["11111111_10", "22222222_30"]})
        refused = {
            403: _FORBIDDEN,
            413: "The body is longer than http.max_body_bytes, or an item is longer than the topic takes.",
            202: "Kafka has not acknowledged every item in time, or refused some. The rest is accepted.",
            409: "The `Idempotency-Key` belongs to a request with another body.",
            422: "The body is not such a list, an item is too long, or the topic does not take such records.",
            429: "Other requests use the memory that this body needs. `Retry-After` has the seconds to wait.",
        }
        lasting = {403: _FORBIDDEN, 422: "The topic does not take such records."}
        return [
            reading,
            one,
            Operation(
                method="POST",
                path=f"/{name}",
                endpoint=self.post,
                tag=name,
                parameters=(KEY,),
                body=body,
                answer=Taken,
                statuses=refused,
                bodies={202: Accepted},
                lenient=True,
            ),
            Operation(
                method="DELETE",
                path=f"/{name}",
                endpoint=self.delete,
                tag=name,
                answer=Cleared,
                statuses=lasting,
                lenient=True,
            ),
        ]

    async def get(self, request: Request) -> Response:
        """Ids, the largest value first; the first `limit` of them, or all.

        The last value of an id counts. Of ids with equal values, the larger one by bytes comes first.
        """
        most, limit = self._asker.allowance.now.max_rows, LIMIT.of(request)
        limit = min(limit, most) if limit is not None and limit > 0 else most
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, EVER, Top(limit, VALUES.of(request)), hold)
            headers, heavy = rows_header(limit), limit > _AT_ONCE
            return await rendered(answer, FORM.of(request), hold, request=request, headers=headers, heavy=heavy)

    async def one(self, request: Request) -> Response:
        """Return the value and the rank of one id.

        An id that is also a path of the dataset, such as `rejects`, or that has a slash, is not reached this way.
        """
        text = ID.of(request)
        name = text.encode(errors="surrogateescape")
        if len(name) <= LONGEST:
            answer = await asked(self._asker, self._stream, EVER, RankOf(name=name))
            for block in answer.view.blocks(answer.partial, answer.span, answer.arguments):
                _, (value,), (rank,) = block.columns
                headers = {**coverage_header(answer.coverage), "Cache-Control": "no-store"}
                return json_response(Standing(text, int(value), int(rank)), headers)
        raise Problem(404, where="path", expected="an id with a value", got=text[:100])

    async def post(self, request: Request) -> Response:
        """Write items to Kafka; respond when Kafka has acknowledged all of them, or with what is known at the deadline.

        Malformed items are written too, and counted as refused when they are read. Any media type is read as JSON. A 503 means
        that nothing was taken. After a 202, or without an answer, repeat the request with the same `Idempotency-Key` only.
        """
        began, most = time.perf_counter(), self._asker.allowance.now.max_body_bytes
        key = KEY.of(request)
        with self._place(params.body_bytes(request, most)):
            body = await params.body(request, most)
            with self._place(_ITEM_BYTES * body.count(b",")):
                values = self._items(body)
                reply = await self._written(key, body, values)
        seconds = round(time.perf_counter() - began, 6)
        if reply.acknowledged == len(values):
            return json_response(Taken(len(values), seconds))
        known = Accepted(len(values), reply.acknowledged, reply.open, reply.refused, seconds, reply.problem or "")
        return json_response(known, status=202)

    async def _written(self, key: str, body: bytes, values: list[bytes]) -> Written:
        """Write the items, unless an earlier request with this key has done so. Raises Problem if nothing was taken."""
        assert self._stream.writer is not None, "there is a route for it"
        if not values:
            return Written({})
        digest = sha256(body).digest()
        earlier = self._repeats.find(key) if key else None
        if earlier is not None and earlier.digest != digest:
            raise Problem(409, where="header Idempotency-Key", expected="a new key for another body", got="a key in use")
        if earlier is not None:
            return await self._repeated(earlier, len(values))
        until = time.monotonic() + self._asker.deadline_s
        outcome = Outcome(digest)
        if key:
            self._repeats.add(key, outcome)
        keys = list(map(key_of, values))
        try:
            return await self._asker.ask(
                self._stream.writer, lambda reply_to: Write(values, keys, reply_to, until), heard=outcome.settle
            )
        except NoReply:
            return Written({}, open=len(values))
        except Problem:
            outcome.settle(outcome.reply or Busy("nothing was taken"))
            raise

    async def _repeated(self, earlier: Outcome, count: int) -> Written:
        """Return what is known of an earlier request, after its first reply or at the deadline. Raises Problem if it failed."""
        if earlier.reply is None:
            with contextlib.suppress(Problem), self._asker.under_way():  # too many wait; a 503 would mean that nothing is taken
                await earlier.known(self._asker.deadline_s)
        if isinstance(earlier.reply, Busy):
            raise not_taken(earlier.reply)
        return earlier.reply or Written({}, open=count)

    async def delete(self, request: Request) -> Response:  # noqa: ARG002  # Starlette hands it in
        """Delete all items that were acknowledged before.

        A record in each partition marks the deletion, so it also holds when the topic is read again. Responds when the stream
        has read these records. A 503 with "may be" means that Kafka may delete items later: repeat the request.
        """
        assert self._stream.writer is not None, "there is a route for it"
        until = time.monotonic() + self._asker.deadline_s
        try:
            written: Written = await self._asker.ask(
                self._stream.writer, lambda reply_to: WriteToAll(CLEAR_KEY, CLEAR_VALUE, reply_to, until)
            )
        except NoReply:
            raise busy("no reply in time, so the dataset may be cleared later: repeat the request") from None
        if written.open or written.refused:
            raise busy(_partly_cleared(written))
        deadline = time.monotonic() + self._asker.deadline_s
        while True:
            answer = await asked(self._asker, self._stream, EVER, Top(1))
            cleared = answer.view.remarks(answer.partial, answer.arguments)["cleared"]
            if all(cleared.get(partition, -1) >= offset for partition, offset in written.offsets.items()):
                return json_response(Cleared("Dataset cleared"))
            if time.monotonic() > deadline:
                raise busy("the dataset is cleared in Kafka, and the service has not read that far yet")
            await asyncio.sleep(_LOOK_S)

    def _place(self, nbytes: int) -> contextlib.AbstractContextManager[Any]:
        """Take memory for a body if it is not short. Raises Problem 429."""
        return self._asker.room.take(nbytes) if nbytes > _SHORT_BODY_BYTES else contextlib.nullcontext()

    def _items(self, body: bytes) -> list[bytes]:
        """Return the items of a body. Raises Problem 422."""
        expected = f'{{"items": [at most {_MOST_ITEMS} strings]}}'
        try:
            values = [item.encode() for item in self._decoder.decode(body).items]
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise Problem(422, where="body", expected=expected, got=str(error)) from None
        longest = max(map(len, values), default=0)
        if longest > LONGEST:
            raise Problem(422, where="body", expected=f"items of at most {LONGEST} bytes", got=f"{longest} bytes")
        return values


def _partly_cleared(written: Written) -> str:
    """Return the text about a deletion that is not acknowledged by every partition."""
    counts = f"{written.acknowledged} partitions are cleared, {written.open} may be, and {written.refused} are not"
    return f"{counts}: {written.problem or 'Kafka has not answered in time'}; repeat the request"
