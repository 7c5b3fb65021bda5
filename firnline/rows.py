"""The rows of an answer: iterated as they arrive, or all of them as Arrow, for pandas, polars and DuckDB."""

import contextlib
import http.client
import io
import time
import urllib.parse
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from firnline.shown import FEW, as_html, as_text
from firnline.transport import FirnlineError, Transport, UnreachableError, text

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

Row = TypeVar("Row")

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"

EARLIEST, LATEST = -(2**63), 2**63
"""The default range of sets: all times. `LATEST` is not part of it."""

PAGE = 10_000
"""Sets in one request."""

_TABLE = 1_000_000
"""Sets in one request of an Arrow stream, if there is a limit."""

_BLOCK = 1 << 16
_PAUSE_S = 0.2


class Rows(Generic[Row]):
    """Rows of an answer. Each iteration, and each `arrow`, sends a new request.

    Every answer must be `of` this stream and view, see `origin`. `coverage` is the coverage of the last answer: its complete
    range, and what is missing. None before the first answer.
    """

    def __init__(self, transport: Transport, path: str, parameters: Mapping[str, object], *, of: Mapping[str, str]) -> None:
        self._transport = transport
        self._path = path
        self._of = of
        self._parameters = parameters
        self.coverage: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows as they arrive. Raises RefusedError, or UnreachableError if an answer breaks off."""
        return self._read()

    def _read(self) -> Generator[Row]:
        with self._transport.ask(self._path, self._parameters, accept=NDJSON, of=self._of) as response:
            self._note_coverage(response)
            for line in _lines(response):
                yield msgspec.json.decode(line)

    def arrow(self) -> "pa.Table":
        """Return all rows as a pyarrow Table, its coverage in the schema's metadata. Needs `pip install 'firnline[arrow]'`.

        In one line each: `rows.arrow().to_pandas()`, `polars.DataFrame(rows)`, and for DuckDB `sets = rows.arrow()`
        and `duckdb.sql("from sets")`. Raises as iterating does.
        """
        return self._table(self._parameters)[0]

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give all rows to a library that reads Arrow's C stream, such as `polars.DataFrame(rows)`."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def url(self, form: str = "csv") -> str:
        """Return the address of a copy of all rows, as csv, ndjson or arrow, which the service keeps for five minutes.

        Programs read it as a file: `polars.scan_csv(rows.url())`, `duckdb.read_csv(rows.url())`. Raises as iterating does.
        """
        given = {name: text(value) for name, value in self._copied().items() if value is not None}
        of = f"{self._path}?{urllib.parse.urlencode({**given, 'format': form})}"
        return self._transport.url.rstrip("/") + str(self._transport.json("/answers", {"of": of})["url"])

    def _copied(self) -> Mapping[str, object]:
        return self._parameters

    def to_pandas(self) -> Any:
        """Return all rows as a pandas DataFrame. Needs pandas and pyarrow."""
        return self.arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return all rows as a polars DataFrame. Needs polars and pyarrow."""
        try:
            import polars as pl  # noqa: PLC0415  # the caller's
        except ImportError:
            raise FirnlineError("expected polars: pip install polars") from None
        return pl.from_arrow(self.arrow())

    def __repr__(self) -> str:
        """Return the first rows as text: sends a request. If the service refuses it, the text has the reason."""
        return self._shown(as_text)

    def _repr_html_(self) -> str:
        """Return the first rows as HTML, for notebooks."""
        return self._shown(as_html)

    def _shown(self, written: Callable[[str, Sequence[Any]], str]) -> str:
        title = f"{type(self).__name__} of {self._path}"
        try:
            return written(title, self._first())
        except (FirnlineError, ValueError) as error:  # a text must not fail
            return f"{title}: {error}"

    def _first(self) -> list[Row]:
        """Return the rows to show, and one more if there are more."""
        with contextlib.closing(self._read()) as rows:
            return list(islice(rows, FEW + 1))

    def _table(self, parameters: Mapping[str, object]) -> "tuple[pa.Table, int | None, Mapping[str, object]]":
        """Return the rows of one answer, its own limit of rows, or None, and the parameters of the next page."""
        try:
            import pyarrow as pa  # noqa: PLC0415  # an extra
        except ImportError:
            raise FirnlineError("Arrow needs pyarrow: pip install 'firnline[arrow]'") from None
        with self._transport.ask(self._path, parameters, accept=ARROW, of=self._of) as response:
            self._note_coverage(response)
            most = response.getheader("Firnline-Rows")
            try:
                with pa.ipc.open_stream(response if response.chunked else io.BytesIO(response.read())) as reader:
                    return reader.read_all(), int(most) if most is not None else None, _fixed(parameters, response)
            except pa.ArrowInvalid as error:
                raise UnreachableError(f"the answer broke off: {error}") from error

    def _note_coverage(self, response: http.client.HTTPResponse) -> None:
        coverage = response.getheader("Firnline-Coverage")
        self.coverage = msgspec.json.decode(coverage) if coverage else None


class _Step(msgspec.Struct):
    timestamp: int


class _Page(msgspec.Struct):
    sets: list[dict[str, _Step]]
    coverage: dict[str, Any]
    next: str | None = None


class Sets(Rows[dict[str, int]]):
    """Sets of a time range, each the times of its steps by their names; at most `limit` of them, from `cursor` on."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        parameters: Mapping[str, object],
        *,
        of: Mapping[str, str],
        limit: int | None,
        cursor: str | None,
    ) -> None:
        super().__init__(transport, path, parameters, of=of)
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
        if self._begins or self._cursor is not None:
            self._begins = False
            raise TypeError("the number of these sets is not known")
        path = f"{self._path.removesuffix('/get-sets')}/summary"
        rows = self._transport.json(path, self._parameters, of=self._of)["summary"]
        count: int = rows[0]["count"] if rows else 0
        return count if self._limit is None else min(count, self._limit)

    def _copied(self) -> Mapping[str, object]:
        return {**self._parameters, "limit": self._limit, "cursor": self._cursor}

    def __bool__(self) -> bool:
        """Return True: a look whether there are sets sends no request."""
        return True

    def _first(self) -> list[dict[str, int]]:
        limit = FEW + 1 if self._limit is None else min(self._limit, FEW + 1)
        few = Sets(self._transport, self._path, self._parameters, of=self._of, limit=limit, cursor=self._cursor)
        with contextlib.closing(few._read()) as rows:  # of the same class
            return list(rows)

    def _read(self) -> Generator[dict[str, int]]:
        self._begins = False
        left, cursor, asked = self._limit, self._cursor, self._parameters
        while left is None or left > 0:
            page, asked = self._page(PAGE if left is None else min(left, PAGE), cursor, asked)
            for each in page.sets:
                yield {name: step.timestamp for name, step in each.items()}
            cursor = page.next
            if cursor is None:
                return
            left = None if left is None else left - len(page.sets)

    def arrow(self) -> "pa.Table":
        """Return all sets as a pyarrow Table, as `Rows.arrow` does, from as many answers as the service needs."""
        left, cursor, found, asked = self._limit, self._cursor, None, self._parameters
        while True:
            limit = None if left is None else min(left, _TABLE)
            table, most, asked = self._table({**asked, "limit": limit, "cursor": cursor})
            found = table if found is None else _joined(found, table)
            left = None if left is None else left - table.num_rows
            if most is None or table.num_rows < most or left == 0:
                return found
            cursor = _after(found, self._cursor)

    def _page(self, limit: int, cursor: str | None, asked: Mapping[str, object]) -> tuple[_Page, Mapping[str, object]]:
        """Return a page, and the parameters of the next one."""
        parameters = {**asked, "limit": limit, "cursor": cursor, "coverage": 1}
        for left in reversed(range(self._transport.tries)):
            try:
                with self._transport.ask(self._path, parameters, of=self._of) as response:
                    page = msgspec.json.decode(response.read(), type=_Page)
            except UnreachableError:
                if not left:
                    raise
                time.sleep(_PAUSE_S)
            else:
                self.coverage = page.coverage
                return page, _fixed(asked, response)
        raise AssertionError("the last try returns or raises")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the lines. Raises UnreachableError if the last line is cut off."""
    rest = b""
    while block := response.read1(_BLOCK) if response.chunked else response.read():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        raise UnreachableError("the answer broke off in the middle of a row")


def _fixed(parameters: Mapping[str, object], response: http.client.HTTPResponse) -> Mapping[str, object]:
    """Return the parameters with the range of the answer, so that a time such as -5m means the same moment on each page."""
    found = response.getheader("Firnline-Range")  # older services do not send it
    if found is None or "startTime" not in parameters:
        return parameters
    start, end = msgspec.json.decode(found, type=tuple[int | None, int | None])
    return {**parameters, "startTime": EARLIEST if start is None else start, "endTime": LATEST if end is None else end}


def _joined(table: "pa.Table", more: "pa.Table") -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415  # an extra

    return pa.concat_tables([table, more.replace_schema_metadata(table.schema.metadata)])


def _after(table: "pa.Table", before: str | None) -> str:
    """Return the cursor after a table that began at `before`: the last times, and the number of sets with these times."""
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    equal = 1
    while equal < table.num_rows and table.slice(table.num_rows - 1 - equal, 1).to_pylist()[0] == last:
        equal += 1
    times = ".".join(map(str, last.values()))
    if equal == table.num_rows and before is not None and before.rpartition(".")[0] == times:
        equal += int(before.rpartition(".")[2])
    return f"{times}.{equal}"
