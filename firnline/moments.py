"""Times of rows as datetimes in UTC, or as timestamps of Arrow. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from firnline.problems import FirnlineError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_US = 10**6


@dataclass(frozen=True, slots=True)
class Times:
    """Which fields of rows are times: those of `names`, or all integers `but` some if it is None.

    They are in `unit`, or in that of the stream.
    """

    names: tuple[str, ...] | None = ()
    unit: str | None = None
    but: tuple[str, ...] = ()

    def dated(self, row: Any, unit: str) -> Any:
        """Return a row with its times as datetimes. Raises FirnlineError for a time that no datetime can be."""
        if not isinstance(row, dict):
            return row
        return {name: _dated(value, unit) if self._is_time(name) else value for name, value in row.items()}

    def stamped(self, table: "pa.Table", unit: str) -> "pa.Table":
        """Return a table with its times as timestamps of this unit, in UTC; the same table if the unit measures no time."""
        if unit not in _PER_S:
            return table
        import pyarrow as pa  # noqa: PLC0415  # an extra

        for place, field in enumerate(table.schema):
            if pa.types.is_int64(field.type) and self._is_time(field.name):
                column = table.column(place).cast(pa.timestamp(unit, tz="UTC"))
                table = table.set_column(place, field.name, column)
        return table

    def _is_time(self, name: str) -> bool:
        return name not in self.but if self.names is None else name in self.names


NO_TIMES = Times()


def _dated(value: Any, unit: str) -> Any:
    if isinstance(value, dict):
        return {name: _dated(each, unit) for name, each in value.items()}
    if not isinstance(value, int) or unit not in _PER_S:
        return value
    try:
        return _EPOCH + timedelta(microseconds=value * _US // _PER_S[unit])
    except OverflowError:
        raise FirnlineError(f"{value} {unit} is in no year from 1 to 9999: ask for numbers") from None
