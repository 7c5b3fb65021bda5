"""The client for asyncio: the same functions as `Client`, awaited. Needs `pip install httpx`.

httpx has what asyncio's streams lack: TLS, a pool of connections that stay open, limits of time, and the framing of HTTP/1.1.
The requests, their parameters and the meaning of their answers are those of `Client`, so both clients cannot differ.
"""

import asyncio
import contextlib
import io
import json
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Mapping
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar

import msgspec

from firnline import rows as plain
from firnline.client import Client
from firnline.origin import Origin, is_missing
from firnline.problems import FirnlineError, FirnlineWarning, RefusedError, UnreachableError, away, problem_of
from firnline.rows import ARROW, NDJSON, Page, Rows, Sets
from firnline.transport import WARNING, Transport, target_of

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa  # type: ignore[import-untyped]

Row = TypeVar("Row")
Given = ParamSpec("Given")
Reply = TypeVar("Reply")

_PAUSE_S = 0.2


class AsyncTransport(Transport):
    """The same requests as those of `Transport`, awaited, over connections that stay open. For one event loop."""

    def __init__(self, url: str | None, token: str | None, timeout_s: float, tries: int) -> None:
        super().__init__(url, token, timeout_s, tries)
        try:
            import httpx  # noqa: PLC0415  # an extra
        except ImportError:
            raise FirnlineError("AsyncClient needs httpx: pip install httpx") from None
        self._http = httpx
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def asked(
        self,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        accept: str = "application/json",
        well: Collection[int] = (200,),
        of: Origin | None = None,
    ) -> "AsyncIterator[httpx.Response]":
        """Yield the response to a request before its body is read. Raises and warns as `Transport.ask`."""
        parts, meant = self.address(), self.meant(of)
        target = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{target_of(self.path(path, of), parameters)}"
        headers = {**self.headers(accept, body), "Accept-Encoding": "identity"}
        begun = False
        for left in reversed(range(self.tries if method != "POST" else 1)):
            try:
                async with self._client.stream(method, target, content=body, headers=headers) as response:
                    if warning := response.headers.get(WARNING):
                        warnings.warn(warning, FirnlineWarning, stacklevel=2)
                    problem: RefusedError | None
                    if response.status_code in well:
                        problem = meant.other(response.headers.get) if meant is not None else None
                        if problem is None:
                            begun = True
                            yield response
                            return
                    else:
                        problem = problem_of(response.status_code, response.headers.get, await response.aread())
            except self._http.TransportError as error:
                # The service may close a kept connection at the moment at which it is used again: RFC 9112, 9.3.1.
                if left and not begun and isinstance(error, self._http.RemoteProtocolError):
                    continue
                raise away(self.url, error) from error
            if of is not None and meant is not None and is_missing(problem):
                if self.note_meant(of, (await self.json("/streams"))["streams"])["name"] == meant.stream:
                    raise problem
                async with self.asked(path, parameters, method=method, body=body, accept=accept, well=well, of=of) as response:
                    yield response
                return
            if not left or problem.wait_s is None:
                raise problem
            await asyncio.sleep(problem.wait_s)

    async def stream(self, of: Origin) -> Any:
        """Return the state of the stream that is meant, as `Transport.stream` does."""
        try:
            found = await self.json(self.state_path(of))
        except RefusedError as error:
            if not is_missing(error):
                raise
        else:
            if of.view in {None, found["view"]}:
                return self.note_meant(of, [found])
        return self.note_meant(of, (await self.json("/streams"))["streams"])

    async def json(self, path: str, parameters: Mapping[str, object] | None = None, **request: Any) -> Any:
        """Return the JSON of an answer. Raises as `asked` does."""
        async with self.asked(path, parameters, **request) as response:
            return json.loads(await response.aread())


class AsyncRows(Generic[Row]):
    """Rows of an answer: `async for row in rows`, `await rows.arrow()`. Each of these sends a new request.

    `coverage` is that of the last answer; None before the first one.
    """

    def __init__(self, transport: AsyncTransport, rows: Rows[Row]) -> None:
        self._transport = transport
        self._rows = rows

    @property
    def coverage(self) -> dict[str, Any] | None:
        """The complete range of the last answer, and what is missing."""
        return self._rows.coverage

    def datetimes(self) -> Self:
        """Return the same rows with datetimes in UTC instead of numbers, as `Rows.datetimes` does."""
        return type(self)(self._transport, self._rows.datetimes())

    def __aiter__(self) -> AsyncIterator[Row]:
        """Yield the rows as they arrive. Raises RefusedError, or UnreachableError if an answer breaks off."""
        return self._read()

    async def _read(self) -> AsyncGenerator[Row]:
        about = self._rows.asked
        unit = await self._unit()
        async with self._transport.asked(about.path, about.parameters, accept=NDJSON, of=about.of) as response:
            self._rows.note_coverage(response.headers.get)
            rest = b""
            async for block in response.aiter_raw():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    row = msgspec.json.decode(line)
                    yield row if unit is None else about.times.dated(row, unit)
            if rest:
                raise UnreachableError("the answer broke off in the middle of a row")

    async def url(self, form: str = "csv") -> str:
        """Return the address of a copy of all rows, in a form of `Rows.url`, which the service keeps for five minutes."""
        await self._transport.stream(self._rows.asked.of)  # so that the copy is one of the stream that is meant
        return self._rows.at((await self._transport.json("/answers", self._rows.copying(form)))["url"])

    async def arrow(self) -> "pa.Table":
        """Return all rows as a pyarrow Table, as `Rows.arrow` does."""
        table, unit = await self._all(), await self._unit()
        return table if unit is None else self._rows.asked.times.stamped(table, unit)

    async def to_pandas(self) -> Any:
        """Return all rows as a pandas DataFrame. Needs pandas and pyarrow."""
        return (await self.arrow()).to_pandas()

    async def to_polars(self) -> Any:
        """Return all rows as a polars DataFrame. Needs polars and pyarrow."""
        return plain.in_polars(await self.arrow())

    async def _all(self) -> "pa.Table":
        return (await self._table(self._rows.asked.parameters))[0]

    async def _table(self, parameters: Mapping[str, object]) -> "tuple[pa.Table, int | None, Mapping[str, object]]":
        plain.needs_pyarrow()
        about = self._rows.asked
        async with self._transport.asked(about.path, parameters, accept=ARROW, of=about.of) as response:
            self._rows.note_coverage(response.headers.get)
            table = plain.table_of(io.BytesIO(await response.aread()))
            most = response.headers.get("Firnline-Rows")
            return table, int(most) if most is not None else None, plain.fixed(parameters, response.headers.get)

    async def _unit(self) -> str | None:
        about = self._rows.asked
        if not about.needs_unit:
            return None
        return about.times.unit or str((await self._transport.stream(about.of))["timeUnit"])


class AsyncSets(AsyncRows[dict[str, int]]):
    """Sets of a time range, which come page by page. `await sets.count()` asks for their number and reads none."""

    _rows: Sets

    async def count(self) -> int:
        """Return the number of sets: asks for the summary. Raises TypeError behind a cursor."""
        return self._rows.counted(await self._transport.json(*self._rows.counting(), of=self._rows.asked.of))

    async def _read(self) -> AsyncGenerator[dict[str, int]]:
        about, unit = self._rows.asked, await self._unit()
        left, cursor, asked = about.limit, about.cursor, about.parameters
        while left is None or left > 0:
            page, asked = await self._page(plain.PAGE if left is None else min(left, plain.PAGE), cursor, asked)
            for each in page.rows():
                yield each if unit is None else about.times.dated(each, unit)
            cursor = page.next
            if cursor is None:
                return
            left = None if left is None else left - len(page.sets)

    async def _page(self, limit: int, cursor: str | None, asked: Mapping[str, object]) -> tuple[Page, Mapping[str, object]]:
        parameters = {**asked, "limit": limit, "cursor": cursor, "coverage": 1}
        for left in reversed(range(self._transport.tries)):
            try:
                async with self._transport.asked(self._rows.asked.path, parameters, of=self._rows.asked.of) as response:
                    page = msgspec.json.decode(await response.aread(), type=Page)
            except UnreachableError:
                if not left:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                self._rows.coverage = page.coverage
                return page, plain.fixed(asked, response.headers.get)
        raise AssertionError("the last try returns or raises")

    async def _all(self) -> "pa.Table":
        about = self._rows.asked
        left, cursor, found, asked = about.limit, about.cursor, None, about.parameters
        while True:
            limit = None if left is None else min(left, plain.TABLE)
            table, most, asked = await self._table({**asked, "limit": limit, "cursor": cursor})
            found = table if found is None else plain.joined(found, table)
            left = None if left is None else left - table.num_rows
            if most is None or table.num_rows < most or left == 0:
                return found
            cursor = plain.after(found, about.cursor)


def _of_rows(
    method: Callable[Concatenate[Client, Given], Rows[Row]],
) -> Callable[Concatenate["AsyncClient", Given], AsyncRows[Row]]:
    @wraps(method)
    def asked(self: "AsyncClient", /, *given: Given.args, **named: Given.kwargs) -> AsyncRows[Row]:
        return AsyncRows(self.transport, method(self.requests, *given, **named))

    return asked


def _of_sets(method: Callable[Concatenate[Client, Given], Sets]) -> Callable[Concatenate["AsyncClient", Given], AsyncSets]:
    @wraps(method)
    def asked(self: "AsyncClient", /, *given: Given.args, **named: Given.kwargs) -> AsyncSets:
        return AsyncSets(self.transport, method(self.requests, *given, **named))

    return asked


def _of_json(
    method: Callable[Concatenate[Client, Given], Reply],
) -> Callable[Concatenate["AsyncClient", Given], Coroutine[Any, Any, Reply]]:
    @wraps(method)
    async def asked(self: "AsyncClient", /, *given: Given.args, **named: Given.kwargs) -> Reply:
        reply: Any = method(self.requests, *given, **named)  # the answer of an AsyncTransport, which is awaited
        found: Reply = await reply
        return found

    return asked


class AsyncClient:
    """Asks the service at `url` with `token`, as `Client` does, in an event loop: every function is one of `Client`, awaited.

    `async with AsyncClient() as client` closes its connections at the end.

    >>> client = AsyncClient("http://127.0.0.1:8080")
    >>> rows = client.sets("2023-06-02T08:51:56Z", limit=100)  # sends no request yet; then: async for each in rows
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        tries: int = 5,
        times: Literal["number", "datetime"] = "number",
    ) -> None:
        self.transport = AsyncTransport(url, token, timeout_s, tries)
        self.requests = Client(url, token=token, timeout_s=timeout_s, tries=tries, times=times, transport=self.transport)

    @property
    def url(self) -> str:
        """The service's address."""
        return self.transport.url

    def __repr__(self) -> str:
        """Return the class and the address. The token is not shown."""
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.transport.close()

    async def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON of any path; parameters that are None are left out, times may be datetimes."""
        return await self.transport.json(path, parameters)

    sets = _of_sets(Client.sets)
    explain = _of_rows(Client.explain)
    summary = _of_rows(Client.summary)
    top = _of_rows(Client.top)
    uniques = _of_rows(Client.uniques)
    words = _of_rows(Client.words)
    segments = _of_rows(Client.segments)
    funnel = _of_rows(Client.funnel)
    sequences = _of_rows(Client.sequences)
    story = _of_rows(Client.story)
    post = _of_json(Client.post)
    clear = _of_json(Client.clear)
    stats = _of_json(Client.stats)
    rejects = _of_json(Client.rejects)
    streams = _of_json(Client.streams)
    health = _of_json(Client.health)
