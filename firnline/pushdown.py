"""The table of a stream as DuckDB reads it: a pyarrow dataset whose scans become requests. Needs pyarrow.

DuckDB calls `scanner` with the columns that it needs and the conditions that a row must meet.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]
from pyarrow.fs import LocalFileSystem  # type: ignore[import-untyped]

from firnline.problems import FirnlineError, RefusedError

if TYPE_CHECKING:
    from firnline.tables import Sql, Table

_FIRST, _LAST = -(2**63), 2**63 - 1
_MICROSECONDS = {"s": 10**6, "ms": 10**3, "us": 1, "ns": 0}
_FORMAT, _DISK = ds.IpcFileFormat(), LocalFileSystem()


class StreamTable(ds.Dataset):  # type: ignore[misc]
    """The rows of `table`, which `sql` asks for. Times are timestamps in UTC without a zone: of ns, or else of us.

    DuckDB passes a condition on if its other side has the type of the column, which is us for `timestamp '…'`.
    """

    def __init__(self, table: "Table", sql: "Sql") -> None:
        self._table = table
        self._sql = sql
        own = sql.schema(table)
        integers = [each.name for each in own if each.type == pa.int64()]
        self._times = integers if table.times is None else list(table.times)
        self._kind = pa.timestamp("ns" if table.unit == "ns" else "us")
        self._factor = 1 if table.unit is None else max(1, _MICROSECONDS[table.unit])
        self._schema = pa.schema([self._typed(each) for each in own])

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any) -> ds.Scanner:  # noqa: A002  # pyarrow's
        """Return the rows that meet the conditions `filter`, as they come."""
        batches = self._batches([*self._requests(filter)])
        return ds.Scanner.from_batches(batches, schema=self._schema, columns=columns, filter=filter)

    def _typed(self, each: pa.Field) -> pa.Field:
        return pa.field(each.name, self._kind if each.name in self._times else each.type, nullable=each.nullable)

    def _requests(self, filter: Any) -> Iterator[dict[str, object]]:  # noqa: A002
        """Yield the parameters of each request that is needed for the rows that may meet `filter`."""
        table, given = self._table, dict(self._table.always)
        if filter is not None and self._times:
            first = self._times[0]
            start = self._bound(filter, first, least=True)
            ends = [self._bound(filter, name, least=False) for name in (self._times if table.ascends else [first])]
            if start is None or None in ends:
                return  # no row meets it
            end = min(each for each in ends if each is not None)
            given |= {table.start: -(-start // self._factor)} if start != _FIRST else {}
            given |= {table.end: end // self._factor + 1} if end != _LAST else {}
        if table.choice is None:
            yield given
            return
        name, values = table.choice
        for value in values:
            if filter is None or self._may_hold(filter, ds.field(name) == value):
                yield {name: value, **given}

    def _bound(self, filter: Any, name: str, *, least: bool) -> int | None:  # noqa: A002
        """Return the least or the greatest time of a column in rows that may meet `filter`; None if no row can.

        A row may also meet it because it has no such time: then there is no bound.

        Arrow finds whether rows with a bound may meet it; the bound is searched by halves. Cost: 2 ms.
        """

        def may_hold(time: int) -> bool:
            bound = pa.scalar(time, self._kind)
            return self._may_hold(filter, ds.field(name) <= bound if least else ds.field(name) >= bound)

        if self._schema.field(name).nullable and self._may_hold(filter, ds.field(name).is_null()):
            return _FIRST if least else _LAST
        low, high = _FIRST, _LAST
        if not may_hold(high if least else low):
            return None
        while low < high:
            middle = (low + high) // 2 if least else -(-(low + high) // 2)
            if may_hold(middle):
                low, high = (low, middle) if least else (middle, high)
            else:
                low, high = (middle + 1, high) if least else (low, middle - 1)
        return low

    def _may_hold(self, filter: Any, known: Any) -> bool:  # noqa: A002
        """Whether rows of which `known` is true may meet `filter`: Arrow skips a file if its rows cannot. Reads no file."""
        fragment = _FORMAT.make_fragment("rows", _DISK, known)
        return any(True for _ in ds.FileSystemDataset([fragment], self._schema, _FORMAT, _DISK).get_fragments(filter))

    def _batches(self, requests: Sequence[dict[str, object]]) -> Iterator[pa.RecordBatch]:
        for parameters in requests:
            try:
                for batch in self._sql.batches(self._table, parameters):
                    columns = [*map(self._cast, batch.columns, self._schema)]
                    yield pa.RecordBatch.from_arrays(columns, schema=self._schema)
            except RefusedError as error:
                if self._table.choice is None or error.where != f"query {self._table.choice[0]}":
                    raise
                # a value that the stream does not keep has no rows

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        """Return a column as its type. Raises FirnlineError for a time that does not fit: of us, from the year 294,247 on."""
        if field.name not in self._times:
            return column
        try:
            return column.cast(pa.timestamp(self._table.unit)).cast(self._kind)
        except pa.ArrowInvalid as error:
            failure = FirnlineError(f"{self._table.path}: expected times of a timestamp of {self._kind.unit}, got: {error}")
        self._sql.failed(failure)
        raise failure
