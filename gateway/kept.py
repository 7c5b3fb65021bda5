"""Answers that are kept for some minutes under an address of their own, for programs that read an address as a file.

Such programs ask for the length first (HEAD), and then for ranges of bytes. They assume that the bytes stay the same; those of
a live answer do not. So a kept answer is a copy, and the only answer that has ranges. Copies count against the memory for
answers, and take at most half of it; the oldest one goes first.
"""

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from gateway.admission import RETRY_AFTER_S, Hold
from gateway.api import params
from gateway.api.caching import not_modified
from gateway.api.errors import Problem, bad, busy, shown, too_much
from gateway.api.formats import FORMATS
from gateway.api.forms import COPIES, IF_NONE_MATCH, STATUSES, json_response
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.schemas import Answer, Count

KEPT_S = 300.0
"""Seconds for which an answer is kept, if there is room."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_LONGEST_REASON = 500
_ARROW = FORMATS["arrow"].media_type
_ARROW_FILE = "application/vnd.apache.arrow.file"
_FORMS = ("csv", "ndjson", "arrow")
_TYPES = {FORMATS[name].media_type: name for name in _FORMS} | {_ARROW_FILE: "arrow"}
_ALIKE = ("type", "asgi", "http_version", "scheme", "server", "client")
"""Members of a scope that the request for a copy has as the request to copy has them."""

_SENT = ("firnline-coverage", "firnline-range", "firnline-rows", "firnline-stream", "firnline-view")

OF = params.Text(
    name="of",
    description="The path and the query of the answer, percent-encoded: /events/get-sets?startTime=0&endTime=now&format=csv.",
    pattern=r"/[!-~]{1,8000}",
    read=str,
    expected="a path with its query",
    required=True,
    example="/streams",
)
FILE = params.Flag(
    name="file",
    description="1: keep Arrow as an IPC file (Feather), which polars.read_ipc and pandas.read_feather read.",
)
NAME = params.InPath(name="name", description="The name of a kept answer.", form={"type": "string"}, example="abc.csv")
RANGE = params.Header(name="Range", description="One range of bytes, such as bytes=0-99. Others are ignored.")
IF_RANGE = params.Header(name="If-Range", description="The range counts only if the answer has this `ETag`.")
IF_MATCH = params.Header(name="If-Match", description="The answer is sent only if it has one of these `ETag`s.")


class Place(Answer, frozen=True):
    """Where a copy of an answer is."""

    url: Annotated[str, msgspec.Meta(description="Its path.")]
    bytes: Annotated[Count, msgspec.Meta(description="Its length.")]
    until: Annotated[float, msgspec.Meta(description="It is kept until this time at most: seconds since 1970.")]


@dataclass(slots=True)
class Copy:
    """The bytes of an answer, with its media type, its headers and the memory that it holds."""

    hold: Hold
    media_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class KeptRoutes:
    """Endpoints of the copies of answers. For one event loop."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._copies: OrderedDict[str, Copy] = OrderedDict()

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        media = {name: {"type": "string"} for name in (*(FORMATS[each].content_type for each in _FORMS), _ARROW_FILE)}
        return [
            Operation(
                method="GET",
                path=COPIES,
                endpoint=self.keep,
                tag="service",
                answer=Place,
                parameters=(OF, FILE),
                statuses={
                    404: "There is no such answer as CSV, NDJSON or Arrow.",
                    413: "The answer is longer than copies may be.",
                    429: "Other answers use the memory for the copy.",
                },
            ),
            Operation(
                method="GET",
                path=f"{COPIES}/{{name}}",
                endpoint=self.kept,
                tag="service",
                parameters=(NAME, RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH),
                forms=media,
                statuses={
                    206: "The range of bytes.",
                    304: STATUSES[304],
                    404: "There is no such copy, or it is dropped.",
                    412: "The copy has no `ETag` of `If-Match`.",
                    416: "No byte is in the range.",
                },
                bodies={206: {"type": "string"}},
            ),
        ]

    async def keep(self, request: Request) -> Response:
        """Copy an answer as CSV, NDJSON or Arrow, for programs that read an address as a file.

        The copy has a path of its own for five minutes. It does not change, so it has a length, ranges and an `ETag`.
        """
        given = OF.of(request)
        if given is None:
            raise bad("of", OF.expected, "nothing")
        path, _, query = given.partition("?")
        if unquote(path).startswith(COPIES):
            raise _no_answer("a path other than this one", path)
        room = self._asker.room
        copy = Copy(room.hold())
        try:
            await _copied(request, path, query, copy, lambda nbytes: self._taken(copy, nbytes, room.nbytes // 2))
            if FILE.of(request):
                copy = await self._filed(copy)
        except BaseException:
            copy.hold.give_back()
            raise
        name = f"{secrets.token_urlsafe(12)}.{_TYPES[copy.media_type]}"
        self._copies[name] = copy
        asyncio.get_running_loop().call_later(KEPT_S, self._drop, name)
        return json_response(Place(f"{COPIES}/{name}", len(copy.body), time.time() + KEPT_S))

    async def _filed(self, copy: Copy) -> Copy:
        """Return the copy as an Arrow IPC file, and give the memory of the stream back."""
        if copy.media_type != _ARROW:
            raise _no_answer("an answer with format=arrow, because file=1", copy.media_type)
        body = await asyncio.to_thread(as_file, bytes(copy.body))
        made = Copy(self._asker.room.hold(), _ARROW_FILE, copy.headers)
        if (problem := self._taken(made, len(body), self._asker.room.nbytes // 2)) is not None:
            made.hold.give_back()
            raise problem
        made.body += body
        copy.hold.give_back()
        return made

    def _taken(self, copy: Copy, nbytes: int, most: int) -> Problem | None:
        """Take memory for more bytes of a copy. Older copies are dropped for it. Returns the problem if there is too little."""
        if len(copy.body) + nbytes > most:
            return Problem(413, where="query of", expected=f"an answer of at most {most:,} bytes", got="more")
        held = sum(len(each.body) for each in self._copies.values())
        while self._copies and held + len(copy.body) + nbytes > most:
            held -= self._drop(next(iter(self._copies)))
        while (refused := copy.hold.take(nbytes)) is not None:
            if not self._copies:
                return too_much(refused.nbytes, refused.free_bytes, RETRY_AFTER_S)
            self._drop(next(iter(self._copies)))
        return None

    async def kept(self, request: Request) -> Response:
        """Send a copy, or a range of its bytes."""
        name = NAME.of(request)
        copy = self._copies.get(name)
        if copy is None:
            raise Problem(404, where="path", expected="a copy that is kept", got=name[:100])
        size, tag = len(copy.body), f'"{name}"'
        headers = {**copy.headers, "Accept-Ranges": "bytes", "ETag": tag, "Cache-Control": "private, no-cache"}
        wanted = IF_MATCH.of(request)
        if wanted and not {tag, "*"} & {part.strip() for part in wanted.split(",")}:
            raise Problem(412, where="header If-Match", expected=tag, got=shown(wanted))
        unchanged = not_modified(request.headers, tag, headers)
        if unchanged is not None:
            return unchanged
        found = _range(RANGE.of(request), size) if IF_RANGE.of(request) in {"", tag} else None
        if found is None:
            return Response(bytes(copy.body), headers=headers, media_type=copy.media_type)
        start, end = found
        if start >= end:
            raise Problem(
                416,
                where="header Range",
                expected=f"a range within {size} bytes",
                got=RANGE.of(request)[:100],
                headers={"Content-Range": f"bytes */{size}"},
            )
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Response(bytes(copy.body[start:end]), 206, headers, copy.media_type)

    def _drop(self, name: str) -> int:
        """Drop a copy if it is there; returns its length."""
        copy = self._copies.pop(name, None)
        if copy is None:
            return 0
        copy.hold.give_back()
        return len(copy.body)


def _range(given: str, size: int) -> tuple[int, int] | None:
    """Return the first byte of a range and the one after its last; None for the whole. An empty range has no byte.

    >>> _range("bytes=2-4", 10), _range("bytes=8-", 10), _range("bytes=-3", 10), _range("bytes=10-", 10), _range("x", 10)
    ((2, 5), (8, 10), (7, 10), (10, 10), None)
    """
    found = _RANGE.fullmatch(given.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


async def _copied(request: Request, path: str, query: str, copy: Copy, take: Callable[[int], Problem | None]) -> None:
    """Ask the application itself for an answer, and copy its bytes. `take` takes memory for them, or returns a problem.

    Raises Problem 404 if the answer is no table or an error, that of `take`, and 503 if the answer breaks off.
    """
    refused: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()
    status, ended = 0, False

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("the request has no body, and its client stays")

    async def send(message: Message) -> None:
        nonlocal status, ended
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            copy.media_type = headers.get("content-type", "").partition(";")[0]
            copy.headers = {name: headers[name] for name in _SENT if name in headers}
            status = message["status"]
            if status == 200 and copy.media_type not in _TYPES:
                await _refuse(refused, _no_answer("an answer with format=csv, ndjson or arrow", copy.media_type))
            return
        block = message.get("body", b"")
        if status != 200:
            await _refuse(refused, _no_answer("a path with an answer", f"status {status}{_reason(block)}", _LONGEST_REASON))
        if block and (problem := take(len(block))) is not None:
            await _refuse(refused, problem)
        copy.body += block
        ended = not message.get("more_body", False)
        if not ended:
            await asyncio.sleep(0)  # other requests run between two blocks

    scope: dict[str, Any] = {name: request.scope[name] for name in _ALIKE}
    scope |= {
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
    }
    scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name == b"host"]
    asked: asyncio.Future[Any] = asyncio.ensure_future(request.app(scope, receive, send))
    waiting: set[asyncio.Future[Any]] = {asked, refused}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            raise refused.result()
        await asked
    finally:
        asked.cancel()
        refused.cancel()
    if not ended:
        raise busy("the answer broke off")


async def _refuse(refused: "asyncio.Future[Problem]", problem: Problem) -> None:
    """Report why an answer is not copied. Never returns: the request is cancelled then."""
    refused.set_result(problem)
    await asyncio.Event().wait()


def _no_answer(expected: str, got: str, most: int = 100) -> Problem:
    return Problem(404, where="query of", expected=expected, got=got if len(got) <= most else f"{got[:most]}…")


def _reason(body: bytes) -> str:
    """Return what an error says; nothing if the body is no error."""
    try:
        error = msgspec.json.decode(body)["error"]
        return f": {error['where']}: expected {error['expected']}, got {error['got']}"
    except (msgspec.DecodeError, TypeError, KeyError):
        return ""


def as_file(stream: bytes) -> bytes:
    """Return the rows of an Arrow IPC stream as an Arrow IPC file, which has a footer. Cost: a copy."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra; the stream was made with it

    reader, sink = pa.ipc.open_stream(stream), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return bytes(sink.getvalue())
