"""The routes of a dataset: post values, get the ids with the largest ones, delete all of it."""

import asyncio
import time
from zlib import crc32

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.messages import Write, WriteToAll, Written
from actors.timeline.span import EVER
from actors.views.top.decode import CLEAR_KEY, CLEAR_VALUE, LONGEST
from actors.views.top.slices import Top, cleared_to
from actors.views.view import Meta
from gateway import params
from gateway.ask import Asker
from gateway.errors import Problem, busy
from gateway.room import Hold
from gateway.served import JSON, SMALL_BYTES, Served, asked, form_of, json, rendered, weighed

_AT_ONCE = 10_000
"""Ids that are rendered on the event loop; more are sorted in a thread."""

_ID_BYTES = 128
_ROW_BYTES = 256
_LOOK_S = 0.005


class Posted(msgspec.Struct):
    """The body of a POST."""

    items: list[str]


class TopRoutes:
    """Endpoints of one dataset, which is asked by its own name."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._decoder = msgspec.json.Decoder(Posted)

    def routes(self) -> list[Route]:
        """Return the table of routes; a dataset that is not read from Kafka cannot be written."""
        writing = ["POST", "DELETE"] if self._stream.writer is not None else []
        return [Route(f"/{self._stream.name}", self.dataset, methods=["GET", *writing])]

    async def dataset(self, request: Request) -> Response:
        """Get, post or delete, by the method."""
        match request.method:
            case "POST":
                return await self.post(request)
            case "DELETE":
                return await self.delete()
            case _:
                return await self.get(request)

    async def get(self, request: Request) -> Response:
        """Ids, the largest value first; the first `limit` of them, or all."""
        limit = params.integer(request, "limit", status=422)
        limit = limit if limit is not None and limit > 0 else None
        if limit is None or limit > _AT_ONCE:
            with await weighed(self._asker, self._stream, EVER, _size) as hold:
                return await self._largest(request, limit, hold)
        with self._asker.room.take(SMALL_BYTES + limit * _ROW_BYTES) as hold:
            return await self._largest(request, limit, hold)

    async def _largest(self, request: Request, limit: int | None, hold: Hold) -> Response:
        answer = await asked(self._asker, self._stream, EVER, Top(limit))
        return await rendered(answer, form_of(request), hold, heavy=limit is None or limit > _AT_ONCE)

    async def post(self, request: Request) -> Response:
        """Write items to Kafka; replies once it has acknowledged all of them."""
        began = time.perf_counter()
        values = self._items(await params.body(request, self._stream.max_body_bytes))
        shards = [crc32(value.partition(b"_")[0]) for value in values]
        assert self._stream.writer is not None, "there is a route for it"
        if values:
            await self._asker.ask(self._stream.writer, lambda reply_to: Write(values, shards, reply_to))
        return Response(json({"count": len(values), "time": round(time.perf_counter() - began, 6)}), media_type=JSON)

    async def delete(self) -> Response:
        """Forget all that was acknowledged before: a record in each partition says so, for every replay to come.

        Replies once these records are read.
        """
        assert self._stream.writer is not None, "there is a route for it"
        written: Written = await self._asker.ask(
            self._stream.writer, lambda reply_to: WriteToAll(CLEAR_KEY, CLEAR_VALUE, reply_to)
        )
        deadline = time.monotonic() + self._asker.deadline_s
        while True:
            answer = await asked(self._asker, self._stream, EVER, Top(1))
            done = cleared_to(answer.partial)
            if all(done.get(partition, -1) >= offset for partition, offset in written.offsets.items()):
                return Response(json({"message": "Dataset cleared"}), media_type=JSON)
            if time.monotonic() > deadline:
                raise busy("the dataset is cleared in Kafka, and the service has not read that far yet")
            await asyncio.sleep(_LOOK_S)

    def _items(self, body: bytes) -> list[bytes]:
        """Return the items of a body. Raises Problem 422."""
        expected = '{"items": [strings]}'
        try:
            values = [item.encode() for item in self._decoder.decode(body).items]
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise Problem(422, where="body", expected=expected, got=str(error)) from None
        longest = max(map(len, values), default=0)
        if longest > LONGEST:
            raise Problem(422, where="body", expected=f"items of at most {LONGEST} bytes", got=f"{longest} bytes")
        return values


def _size(meta: Meta) -> int:
    """Return what all of a dataset takes: values, times and places of ids, as they are copied and as they are sorted."""
    ids: int = meta.summary.ids
    return _ID_BYTES * ids
