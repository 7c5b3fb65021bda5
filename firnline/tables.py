"""SQL over the streams of a running service, by DuckDB in this process. Needs the extra `sql`.

Each stream is a table. DuckDB passes the conditions of a query on; those on the time become the range of the request, so the
service sends the rows of that time alone. Rows are read as they arrive, batch by batch.
"""

import io
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from firnline.origin import Origin
from firnline.problems import FirnlineError, UnreachableError
from firnline.rows import ARROW, EARLIEST, LATEST
from firnline.transport import Transport, text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa  # type: ignore[import-untyped]

_FETCHED = 1_000
Parameters = Mapping[str, object]

_KNOWN = ""
"""The name of no parameter: the rows at the start of an answer that the answer before had too."""

_EVER: Parameters = {"startTime": EARLIEST, "endTime": LATEST}
_LENGTHS = ("minute", "hour", "day", "week", "month", "year")

Batches = Generator["pa.RecordBatch", None, "_End | None"]


@dataclass(slots=True)
class Request:
    """A request of a query: its path with the parameters, the rows of its answer, and their bytes in Arrow."""

    target: str
    rows: int = 0
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class _End:
    """The integers in the last row of an answer; how many rows at the end have the same ones, and the same first one."""

    row: Mapping[str, int]
    equal: int
    tied: int

    @staticmethod
    def of(batch: "pa.RecordBatch", before: "_End | None") -> "_End":
        """Return the end of a batch that has rows, after others with the end `before`."""
        row = _numbers(batch, 1)
        first = next(iter(row), "")
        equal, tied = _run(batch, lambda other: other == row), _run(batch, lambda other: other.get(first) == row.get(first))
        if before is not None and equal == batch.num_rows and before.row == row:
            equal += before.equal
        if before is not None and tied == batch.num_rows and before.row.get(first) == row.get(first):
            tied += before.tied
        return _End(row, equal, tied)


def _run(batch: "pa.RecordBatch", alike: Callable[[Mapping[str, int]], bool]) -> int:
    """Return the number of rows at the end that are `alike`, one at least."""
    count = 1
    while count < batch.num_rows and alike(_numbers(batch, count + 1)):
        count += 1
    return count


def _numbers(batch: "pa.RecordBatch", back: int) -> dict[str, int]:
    row = batch.slice(batch.num_rows - back, 1).to_pylist()[0]
    return {name: value for name, value in row.items() if isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a stream: where its rows are, and how they are asked for.

    `unit` is that of the columns `times`; None for `times`: all integers. The parameters `start` and `end` choose the rows by
    the first of these columns; a request without them has the parameters `always`. If a row's times ascend, a bound on a later
    one bounds the first one too. `following` returns the parameters of the next page from those of this one and its end; None
    if one answer has all rows. `choice` is a parameter that has one value a request, which is also a column.
    """

    stream: str
    view: str
    path: str
    unit: str | None = None
    times: tuple[str, ...] | None = ()
    start: str = ""
    end: str = ""
    ascends: bool = False
    always: Parameters = field(default_factory=dict)
    following: Callable[[Parameters, _End], Parameters] | None = None
    choice: tuple[str, tuple[str, ...]] | None = None


class Sql:
    """The rows of a query. Each iteration, and each `arrow`, runs it again.

    `requests` has the requests of the last run, in their order.
    """

    def __init__(self, transport: Transport, query: str) -> None:
        self._transport = transport
        self._query = query
        self._error: FirnlineError | None = None
        self.requests: list[Request] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as they come, as mappings from column to value. Times are datetimes in UTC, without a zone.

        Raises FirnlineError if DuckDB refuses the query or a package is missing, and else as `Rows` does.
        """
        with self._connected() as connection:
            result = connection.execute(self._query)
            names = [column[0] for column in result.description or ()]
            while rows := result.fetchmany(_FETCHED):
                for row in rows:
                    yield dict(zip(names, row, strict=True))

    def arrow(self) -> "pa.Table":
        """Return all rows as a pyarrow Table. Raises as iterating does."""
        with self._connected() as connection:
            found = connection.sql(self._query)
            if found is None:
                raise FirnlineError("the query: expected one that returns rows")
            return found.to_arrow_table()

    @contextmanager
    def _connected(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        """Yield a connection with the tables that the query may name. Closes it at the end."""
        try:
            import duckdb  # noqa: PLC0415  # an extra

            from firnline.pushdown import StreamTable  # noqa: PLC0415  # it needs pyarrow
        except ImportError:
            raise FirnlineError("SQL needs DuckDB and pyarrow: pip install duckdb pyarrow") from None
        self.requests, self._error = [], None
        asked = self._query.lower()  # DuckDB's own list of tables needs tables that it knows
        with duckdb.connect(":memory:") as connection:
            connection.execute("set enable_progress_bar = false")  # it is printed among the rows of a long query
            known: Mapping[str, Table] = {}
            try:
                known = tables(self._transport.json("/streams")["streams"])
                for name, table in known.items():
                    if name in asked:
                        connection.register(name, StreamTable(table, self))
                yield connection
            except duckdb.Error as error:
                raise self._error or FirnlineError(f"the query: {_explained(error, self._query, list(known))}") from None

    def schema(self, table: "Table") -> "pa.Schema":
        """Return the columns of a table. Asks for one row."""
        with self._answer(table, {**table.always, "limit": 1}) as (reader, _, _):
            return reader.schema

    def batches(self, table: "Table", parameters: Parameters) -> "Iterator[pa.RecordBatch]":
        """Yield the batches of a table's rows, from as many answers as the service needs.

        DuckDB gives no error of ours on, so it is kept for the end of the run.
        """
        following: Parameters | None = parameters
        try:
            while following is not None:
                end = yield from self._rows(table, following)
                following = None if end is None or table.following is None else table.following(following, end)
        except FirnlineError as error:
            self.failed(error)
            raise

    def failed(self, error: FirnlineError) -> None:
        """Keep the error of a request."""
        self._error = error

    def _rows(self, table: "Table", parameters: Parameters) -> Batches:
        """Yield the batches of an answer. Returns its end if there are more rows."""
        end: _End | None = None
        known = int(str(parameters.get(_KNOWN, 0)))
        with self._answer(table, {name: value for name, value in parameters.items() if name != _KNOWN}) as (
            reader,
            most,
            request,
        ):
            for batch in reader:
                if batch.num_rows:
                    request.rows += batch.num_rows
                    request.nbytes += batch.nbytes
                    end = _End.of(batch, end)
                    yield batch.slice(known)
                    known = max(0, known - batch.num_rows)
        if request.rows < most:
            return None
        if table.following is None or (end is not None and known >= request.rows):
            raise FirnlineError(f"{table.path}: expected fewer than {most} rows (http.max_rows of the service), got as many")
        return end

    @contextmanager
    def _answer(self, table: "Table", parameters: Parameters) -> "Iterator[tuple[pa.RecordBatchReader, int, Request]]":
        """Send a request. Yields the reader of the answer, and the rows that the service gives at most."""
        import pyarrow as pa  # noqa: PLC0415  # an extra

        given = "&".join(f"{name}={text(value)}" for name, value in parameters.items())
        request = Request(f"{table.path}?{given}" if given else table.path)
        self.requests.append(request)
        with self._transport.ask(table.path, parameters, accept=ARROW, of=Origin(table.stream, table.view)) as response:
            most = int(response.getheader("Firnline-Rows") or 2**63)
            try:
                with pa.ipc.open_stream(response if response.chunked else io.BytesIO(response.read())) as reader:
                    yield reader, most, request
            except pa.ArrowInvalid as error:
                raise UnreachableError(f"the answer broke off: {error}") from error


def tables(streams: Iterable[Mapping[str, Any]]) -> dict[str, Table]:
    """Return the tables of the streams in the answer of `/streams`, by name."""
    found: dict[str, Table] = {}
    for stream in streams:
        name, view = stream["name"], stream["view"]
        match view:
            case "sets":
                path, unit = f"/{name}/get-sets", stream["timeUnit"]
                found[name] = Table(
                    name, view, path, unit, None, "startTime", "endTime", ascends=True, always=_EVER, following=_sets_after
                )
            case "uniques":
                times, choice = ("start", "end"), ("granularity", _LENGTHS)
                found[name] = Table(name, view, f"/{name}", "s", times, "start", "end", following=_periods_after, choice=choice)
            case "funnel":
                path, unit = f"/{name}/sequences", stream["timeUnit"]
                found[name] = Table(
                    name, view, path, unit, None, "startTime", "endTime", ascends=True, following=_sequences_after
                )
            case "words":
                found[name] = Table(name, view, f"/{name}/CountWords")
                found[f"{name}_types"] = Table(name, view, f"/{name}/CountByEventType")
            case "segments":
                found[name] = Table(name, view, f"/{name}", following=_batches_after)
                found[f"{name}_pending"] = Table(name, view, f"/{name}/pending", following=_batches_after)
            case "top":
                found[name] = Table(name, view, f"/{name}")
            case _:
                pass  # a view of a newer service has no table
    return found


def _explained(error: Exception, query: str, known: Sequence[str]) -> str:
    """Return the text of an error of DuckDB, with what to change; without its guess among tables of its own."""
    text_ = str(error)
    absent = text_.startswith("Catalog Error: Table with name")
    first, line, rest = (text_.split("!", maxsplit=1)[0] if absent else text_).partition("\n")
    return first + _advice(query, known, absent=absent) + line + rest


def _advice(query: str, known: Sequence[str], *, absent: bool) -> str:
    """Return what to change about a query that DuckDB refuses: the tables if one is `absent`, or a name to quote.

    >>> _advice("from shop-floor", ["shop-floor"], absent=False)
    '; quote the name: "shop-floor"'
    """
    bare = [name for name in known if "-" in name and re.search(rf"""(?<![\w"'-]){re.escape(name)}(?![\w"'-])""", query)]
    if bare:
        return f'; quote the name: "{bare[0]}"'
    listed = ", ".join(f'"{name}"' if "-" in name else name for name in known)
    return f"; the tables are {listed or 'none'}" if absent else ""


def _sets_after(parameters: Parameters, end: _End) -> Parameters:
    times = ".".join(map(str, end.row.values()))
    before, _, count = str(parameters.get("cursor", "")).rpartition(".")
    return {**parameters, "cursor": f"{times}.{end.equal + (int(count) if before == times else 0)}"}


def _sequences_after(parameters: Parameters, end: _End) -> Parameters:
    return {**parameters, "startTime": next(iter(end.row.values())), _KNOWN: end.tied}


def _periods_after(parameters: Parameters, end: _End) -> Parameters:
    return {**parameters, "start": end.row["start"] + 1}


def _batches_after(parameters: Parameters, end: _End) -> Parameters:
    return {**parameters, "after": end.row["batch"]}
