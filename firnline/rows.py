"""The rows of an answer: iterated as they arrive, or all of them as Arrow, for pandas, polars and DuckDB."""

import contextlib
import http.client
import importlib.util
import io
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import msgspec

from firnline.moments import NO_TIMES, Times
from firnline.origin import Origin
from firnline.problems import FirnlineError, Header, UnreachableError
from firnline.shown import FEW, as_html, as_text
from firnline.transport import Transport, target_of

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

Row = TypeVar("Row")

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"

EARLIEST, LATEST = -(2**63), 2**63
"""The default range of sets: all times. `LATEST` is not part of it."""

PAGE = 10_000
"""Sets in one request."""

TABLE = 1_000_000
"""Sets in one request of an Arrow stream, if there is a limit."""

_BLOCK = 1 << 16
_PAUSE_S = 0.2


class Asked(NamedTuple):
    """What rows ask for: the path, the parameters, the origin of the answer, and which fields are times."""

    path: str
    parameters: Mapping[str, object]
    of: Origin
    times: Times
    needs_unit: bool
    limit: int | None = None
    cursor: str | None = None


class Rows(Generic[Row]):
    """Rows of an answer. Each iteration, and each `arrow`, sends a new request.

    Every answer must be `of` this stream and view, see `origin`. `coverage` is the coverage of the last answer: its complete
    range, and what is missing. None before the first answer.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        parameters: Mapping[str, object],
        *,
        of: Origin,
        times: Times = NO_TIMES,
        is_dated: bool = False,
    ) -> None:
        self._transport = transport
        self._path = path
        self._of = of
        self._parameters = parameters
        self._times = times
        self._is_dated = is_dated
        self.coverage: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows as they arrive. Raises RefusedError, or UnreachableError if an answer breaks off."""
        return self._read()

    def datetimes(self) -> Self:
        """Return the same rows with datetimes in UTC instead of numbers, rounded down to microseconds; in Arrow, timestamps.

        Each iteration then asks for the unit of the stream first. Durations, such as `p95` of a summary, stay numbers.
        """
        return self._with(_is_dated=True)

    def _with(self, **members: object) -> Self:
        found = copy(self)
        vars(found).update(members)
        return found

    @property
    def asked(self) -> Asked:
        """What these rows ask for."""
        return Asked(self._path, self._parameters, self._of, self._times, self._is_dated and self._times != NO_TIMES)

    def _unit(self) -> str | None:
        """Return the unit of the times; None if they stay numbers."""
        if not self.asked.needs_unit:
            return None
        return self._times.unit or str(self._transport.stream(self._of)["timeUnit"])

    def _read(self) -> Generator[Row]:
        unit = self._unit()
        with self._transport.ask(self._path, self._parameters, accept=NDJSON, of=self._of) as response:
            self.note_coverage(response.getheader)
            for line in _lines(response):
                row = msgspec.json.decode(line)
                yield row if unit is None else self._times.dated(row, unit)

    def arrow(self) -> "pa.Table":
        """Return all rows as a pyarrow Table, its coverage in the schema's metadata. Needs `pip install pyarrow`.

        In one line each: `rows.arrow().to_pandas()`, `polars.DataFrame(rows)`, and for DuckDB `sets = rows.arrow()`
        and `duckdb.sql("from sets")`. Raises as iterating does.
        """
        return self._stamped(self._all())

    def _all(self) -> "pa.Table":
        return self._table(self._parameters)[0]

    def _stamped(self, table: "pa.Table") -> "pa.Table":
        unit = self._unit()
        return table if unit is None else self._times.stamped(table, unit)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give all rows to a library that reads Arrow's C stream, such as `polars.DataFrame(rows)`."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def url(self, form: str = "csv") -> str:
        """Return the address of a copy of all rows, as csv, ndjson, arrow or feather, which the service keeps for five minutes.

        Programs read it as a file: `polars.scan_csv(rows.url())`, `duckdb.read_csv(rows.url())`. Arrow is a stream, for
        `polars.read_ipc_stream`; feather is the same as a file, for `polars.scan_ipc`. Raises as iterating does.
        """
        self._transport.stream(self._of)  # so that the copy is one of the stream that is meant
        return self.at(self._transport.json("/answers", self.copying(form))["url"])

    def copying(self, form: str) -> Mapping[str, object]:
        """Return the parameters of the request for a copy in this form."""
        is_file = form == "feather"
        asked = {**self._copied(), "format": "arrow" if is_file else form}
        return {"of": target_of(self._transport.path(self._path, self._of), asked), "file": 1 if is_file else None}

    def at(self, path: str) -> str:
        """Return the address of a path of the service."""
        return self._transport.url.rstrip("/") + path

    def _copied(self) -> Mapping[str, object]:
        return self._parameters

    def to_pandas(self) -> Any:
        """Return all rows as a pandas DataFrame. Needs pandas and pyarrow."""
        return self.arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return all rows as a polars DataFrame. Needs polars and pyarrow."""
        return in_polars(self.arrow())

    def __repr__(self) -> str:
        """Return the first rows as text: sends a request. If the service refuses it, the text has the reason."""
        return self._shown(as_text)

    def _repr_html_(self) -> str:
        """Return the first rows as HTML, for notebooks."""
        return self._shown(as_html)

    def _shown(self, written: Callable[[str, Sequence[Any]], str]) -> str:
        title = f"{type(self).__name__} of {self._path}"
        try:
            rows = self._first()
            return written(f"{type(self).__name__} of {self._transport.path(self._path, self._of)}", rows)
        except (FirnlineError, ValueError) as error:  # a text must not fail
            return f"{title}: {error}"

    def _first(self) -> list[Row]:
        """Return the rows to show, and one more if there are more."""
        with contextlib.closing(self._read()) as rows:
            return list(islice(rows, FEW + 1))

    def _table(self, parameters: Mapping[str, object]) -> "tuple[pa.Table, int | None, Mapping[str, object]]":
        """Return the rows of one answer, its own limit of rows, or None, and the parameters of the next page."""
        needs_pyarrow()
        with self._transport.ask(self._path, parameters, accept=ARROW, of=self._of) as response:
            self.note_coverage(response.getheader)
            most = response.getheader("Firnline-Rows")
            table = table_of(response if response.chunked else io.BytesIO(response.read()))
            return table, int(most) if most is not None else None, fixed(parameters, response.getheader)

    def note_coverage(self, header: Header) -> None:
        """Keep the coverage of an answer with these headers."""
        coverage = header("Firnline-Coverage")
        self.coverage = msgspec.json.decode(coverage) if coverage else None


class _Step(msgspec.Struct):
    timestamp: int


class Page(msgspec.Struct):
    """A page of sets, and the cursor of the next one."""

    sets: list[dict[str, _Step]]
    coverage: dict[str, Any]
    next: str | None = None

    def rows(self) -> Iterator[dict[str, int]]:
        """Yield the sets as mappings from step to time."""
        return ({name: step.timestamp for name, step in each.items()} for each in self.sets)


class Sets(Rows[dict[str, int]]):
    """Sets of a time range, each the times of its steps by their names; at most `limit` of them, from `cursor` on."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        parameters: Mapping[str, object],
        *,
        of: Origin,
        limit: int | None,
        cursor: str | None,
        is_dated: bool = False,
    ) -> None:
        super().__init__(transport, path, parameters, of=of, times=Times(None), is_dated=is_dated)
        self._limit = limit
        self._cursor = cursor
        self._begins = False

    def __iter__(self) -> Iterator[dict[str, int]]:
        """Yield the sets, page by page; a page that breaks off is requested again. Cost: 2 us a set in the client."""
        self._begins = True
        return self._read()

    def __len__(self) -> int:
        """Return the number of sets: asks for the summary, and reads no sets. Raises as iterating does.

        Raises TypeError behind a cursor, and while an iteration begins: so `list(rows)` sends no request for the length.
        """
        if self._begins:
            self._begins = False
            raise TypeError("the number of these sets is not known")
        return self.counted(self._transport.json(*self.counting(), of=self._of))

    @property
    def asked(self) -> Asked:
        """What these sets ask for."""
        return super().asked._replace(limit=self._limit, cursor=self._cursor)

    def counting(self) -> tuple[str, Mapping[str, object]]:
        """Return the path and the parameters of the request for the number. Raises TypeError behind a cursor."""
        if self._cursor is not None:
            raise TypeError("the number of these sets is not known")
        return f"{self._path.removesuffix('/get-sets')}/summary", self._parameters

    def counted(self, summary: Mapping[str, Any]) -> int:
        """Return the number from the answer to that request."""
        rows = summary["summary"]
        count: int = rows[0]["count"] if rows else 0
        return count if self._limit is None else min(count, self._limit)

    def _copied(self) -> Mapping[str, object]:
        return {**self._parameters, "limit": self._limit, "cursor": self._cursor}

    def __bool__(self) -> bool:
        """Return True: a look whether there are sets sends no request."""
        return True

    def _first(self) -> list[dict[str, int]]:
        limit = FEW + 1 if self._limit is None else min(self._limit, FEW + 1)
        return list(self._with(_limit=limit)._read())  # noqa: SLF001  # of the same class

    def _read(self) -> Generator[dict[str, int]]:
        self._begins = False
        unit = self._unit()
        left, cursor, asked = self._limit, self._cursor, self._parameters
        while left is None or left > 0:
            page, asked = self._page(PAGE if left is None else min(left, PAGE), cursor, asked)
            for each in page.rows():
                yield each if unit is None else self._times.dated(each, unit)
            cursor = page.next
            if cursor is None:
                return
            left = None if left is None else left - len(page.sets)

    def _all(self) -> "pa.Table":
        """Return all sets, from as many answers as the service needs."""
        left, cursor, found, asked = self._limit, self._cursor, None, self._parameters
        while True:
            limit = None if left is None else min(left, TABLE)
            table, most, asked = self._table({**asked, "limit": limit, "cursor": cursor})
            found = table if found is None else joined(found, table)
            left = None if left is None else left - table.num_rows
            if most is None or table.num_rows < most or left == 0:
                return found
            cursor = after(found, self._cursor)

    def _page(self, limit: int, cursor: str | None, asked: Mapping[str, object]) -> tuple[Page, Mapping[str, object]]:
        """Return a page, and the parameters of the next one."""
        parameters = {**asked, "limit": limit, "cursor": cursor, "coverage": 1}
        for left in reversed(range(self._transport.tries)):
            try:
                with self._transport.ask(self._path, parameters, of=self._of) as response:
                    page = msgspec.json.decode(response.read(), type=Page)
            except UnreachableError:
                if not left:
                    raise
                time.sleep(_PAUSE_S)
            else:
                self.coverage = page.coverage
                return page, fixed(asked, response.getheader)
        raise AssertionError("the last try returns or raises")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the lines. Raises UnreachableError if the last line is cut off."""
    rest = b""
    while block := response.read1(_BLOCK) if response.chunked else response.read():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        raise UnreachableError("the answer broke off in the middle of a row")


def fixed(parameters: Mapping[str, object], header: Header) -> Mapping[str, object]:
    """Return the parameters with the range of the answer, so that a time such as -5m means the same moment on each page."""
    found = header("Firnline-Range")  # older services do not send it
    if found is None or "startTime" not in parameters:
        return parameters
    start, end = msgspec.json.decode(found, type=tuple[int | None, int | None])
    return {**parameters, "startTime": EARLIEST if start is None else start, "endTime": LATEST if end is None else end}


def needs_pyarrow() -> None:
    """Raise FirnlineError if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise FirnlineError("Arrow needs pyarrow: pip install pyarrow")


def table_of(stream: Any) -> "pa.Table":
    """Return the table of a stream of Arrow's IPC. Raises UnreachableError if it breaks off."""
    import pyarrow as pa  # noqa: PLC0415  # an extra

    try:
        with pa.ipc.open_stream(stream) as reader:
            return reader.read_all()
    except pa.ArrowInvalid as error:
        raise UnreachableError(f"the answer broke off: {error}") from error


def in_polars(table: "pa.Table") -> Any:
    """Return a table as a polars DataFrame. Raises FirnlineError if polars is not installed."""
    try:
        import polars as pl  # noqa: PLC0415  # the caller's
    except ImportError:
        raise FirnlineError("expected polars: pip install polars") from None
    return pl.from_arrow(table)


def joined(table: "pa.Table", more: "pa.Table") -> "pa.Table":
    """Return the rows of two answers, with the metadata of the first one."""
    import pyarrow as pa  # noqa: PLC0415  # an extra

    return pa.concat_tables([table, more.replace_schema_metadata(table.schema.metadata)])


def after(table: "pa.Table", before: str | None) -> str:
    """Return the cursor after a table that began at `before`: the last times, and the number of sets with these times."""
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    equal = 1
    while equal < table.num_rows and table.slice(table.num_rows - 1 - equal, 1).to_pylist()[0] == last:
        equal += 1
    times = ".".join(map(str, last.values()))
    if equal == table.num_rows and before is not None and before.rpartition(".")[0] == times:
        equal += int(before.rpartition(".")[2])
    return f"{times}.{equal}"
