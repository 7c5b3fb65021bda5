"""The writers of answers: JSON, a row a line, CSV and Arrow. Each makes bytes of blocks of columns and of their shape.

A writer holds no more than a few blocks, so an answer of any length takes bounded memory. Arrow needs pyarrow, an extra.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

import msgspec

from actors.views.view import Column, Field, Shape, listed
from gateway.api.digits import filled
from gateway.api.errors import Problem

_BATCH_ROWS = 4_096
"""Rows of an Arrow batch; the last batch of an answer may have fewer."""

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The end of an Arrow IPC stream: the mark of a message, with length 0."""

_FLAGS = ("false", "true")

Columns = Sequence[Column]
"""One column for each field of a shape, all of one length."""

_encoder = msgspec.json.Encoder()


class Writer(ABC):
    """Writes one answer: `begin` once, `block` for each block of columns, `end` once. Each may return no bytes."""

    def begin(self) -> bytes:
        """Return the bytes before the first row. By default there are no such bytes."""
        return b""

    @abstractmethod
    def block(self, columns: Columns) -> bytes:
        """Return rows as bytes."""

    def end(self, following: object) -> bytes:  # noqa: ARG002  # only JSON has a place for it
        """Return the rest. `following` is the place of the first row that the limit has left out, or None."""
        return b""


class JsonWriter(Writer):
    """An object with the rows and `members`. It has the member `next` if rows are left out.

    >>> writer = JsonWriter(Shape("sets", (Field("r"), Field("g")), b"[%d,%d]"), {"coverage": 1})
    >>> writer.begin() + writer.block([np.array([1, 3]), np.array([2, 4])]) + writer.end("3.4")
    b'{"sets":[[1,2],[3,4]],"next":"3.4","coverage":1}'
    """

    def __init__(self, shape: Shape, members: Mapping[str, object]) -> None:
        self._shape = shape
        self._members = members
        self._rows = _joined(shape)
        self._pairs = shape.row == "pair"
        self._begun = False

    def begin(self) -> bytes:
        """Return the beginning of the object. Pairs without members are the object itself."""
        opening = b"{" if self._pairs else b"["
        return opening if self._pairs and not self._members else b'{"%b":%b' % (self._shape.name.encode(), opening)

    def block(self, columns: Columns) -> bytes:
        """Return rows with commas between. Cost: see `filled` with a template, else 0.4 us an object."""
        if not len(columns[0]):
            return b""
        rows, begun, self._begun = self._rows(columns), self._begun, True
        return rows if begun else rows[1:]

    def end(self, following: object) -> bytes:
        """Return the end of the object. A place that is not an integer is written as text."""
        if self._pairs:
            return b"}," + _encoder.encode(self._members)[1:] if self._members else b"}"
        members = self._members
        if following is not None:
            place = {"next": following if isinstance(following, int) else str(following)}
            members = {**members, **place} if self._shape.next_is_last else {**place, **members}
        return b"]," + _encoder.encode(members)[1:] if members else b"]}"


class NdjsonWriter(Writer):
    """A row a line, as JSON. Cost as for JSON."""

    def __init__(self, shape: Shape) -> None:
        self._lines = _lined(shape)

    def block(self, columns: Columns) -> bytes:
        """Return rows as lines."""
        return self._lines(columns)


@lru_cache(maxsize=64)
def _joined(shape: Shape) -> Callable[[Columns], bytes]:
    """Return the function that writes rows of `shape` as JSON, each behind a comma. Prepared once for a shape: 0.1 ms."""
    match shape.row:
        case bytes() as template:
            return lambda columns: filled(b"," + template, columns)
        case "pair":  # names differ, and a dict keeps their order
            return lambda columns: b"," + _encoder.encode(dict(zip(*map(listed, columns), strict=True)))[1:-1]
        case _:
            items = _items(shape)
            return lambda columns: b"," + _encoder.encode(items(columns))[1:-1]


@lru_cache(maxsize=64)
def _lined(shape: Shape) -> Callable[[Columns], bytes]:
    """Return the function that writes rows of `shape` as NDJSON. Prepared as in `_joined`."""
    if isinstance(template := shape.row, bytes):
        return lambda columns: filled(template + b"\n", columns)
    items = _items(shape)
    return lambda columns: _encoder.encode_lines(items(columns))


def _items(shape: Shape) -> Callable[[Columns], list[Any]]:
    """Return the function that makes a value of each row, which msgspec can write."""
    if shape.row == "value":
        return lambda columns: listed(columns[0])
    if any(field.group for field in shape.fields):
        return _grouped(shape.fields)
    # A struct is faster to make and to write than a dict.
    row = msgspec.defstruct("Row", [field.name for field in shape.fields], gc=False)
    return lambda columns: list(map(row, *map(listed, columns)))


def _grouped(fields: Sequence[Field]) -> Callable[[Columns], list[Any]]:
    """Return the function that makes a dict of each row, with a dict for each group."""
    parts = [(group, [field.name for field in own]) for group, own in groupby(fields, lambda field: field.group)]
    names = [name for group, own in parts for name in ([group] if group else own)]

    def rows(columns: Columns) -> list[Any]:
        values: list[Iterable[Any]] = []
        left = iter(map(listed, columns))
        for group, own in parts:
            some = list(islice(left, len(own)))
            values += [[dict(zip(own, row, strict=True)) for row in zip(*some, strict=True)]] if group else some
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    return rows


class CsvWriter(Writer):
    r"""RFC 4180: a line of names, then a row a line, each ended by CR LF. None is an empty value, a list is written as JSON.

    >>> writer = CsvWriter((Field("name", "text"), Field("count")))
    >>> writer.begin() + writer.block([["a", "b, c"], np.array([1, 2])])
    b'name,count\r\na,1\r\n"b, c",2\r\n'
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._integers = all(field.kind == "integer" and not field.optional for field in fields)
        self._row = b",".join([b"%d"] * len(fields)) + b"\r\n"

    def begin(self) -> bytes:
        """Return the line of names."""
        return _lines([[field.name for field in self._fields]])

    def block(self, columns: Columns) -> bytes:
        """Return rows as lines. Cost: 0.1 us a value if all are integers, else 0.2 us."""
        if self._integers:
            return filled(self._row, columns)
        return _lines(zip(*map(_values, self._fields, columns), strict=True))


def _values(field: Field, column: Column) -> Iterable[object]:
    values = listed(column)
    match field.kind:
        case "flag":
            return map(_FLAGS.__getitem__, values)
        case "integers":
            return (_encoder.encode(each).decode() for each in values)
        case _:
            return values


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


class ArrowWriter(Writer):
    """An Arrow IPC stream: the message of the schema, with `metadata`, and messages with batches of rows.

    Raises Problem 501 without pyarrow.
    """

    def __init__(self, fields: Sequence[Field], metadata: Mapping[str, str]) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, and slow to load
        except ImportError:
            expected = "pyarrow in the service: pip install pyarrow"
            raise Problem(501, where="format arrow", expected=expected, got="no pyarrow") from None
        kinds = {
            "integer": pa.int64(),
            "number": pa.float64(),
            "text": pa.string(),
            "flag": pa.bool_(),
            "integers": pa.list_(pa.int64()),
            "key": pa.string(),
        }
        self._keys = [place for place, field in enumerate(fields) if field.kind == "key"]
        self._pa: Any = pa
        self._schema = pa.schema(
            [pa.field(field.name, kinds[field.kind], nullable=field.optional) for field in fields], metadata=dict(metadata)
        )
        self._held: list[Any] = []
        self._rows = 0

    def begin(self) -> bytes:
        """Return the schema."""
        return bytes(self._schema.serialize())

    def block(self, columns: Columns) -> bytes:
        """Return the rows as soon as there are enough for a batch. Cost: a copy of numbers, 0.1 us a text."""
        columns = list(columns)
        for place in self._keys:
            columns[place] = list(map(str, columns[place]))
        arrays = [self._pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._held.append(self._pa.record_batch(arrays, schema=self._schema))
        self._rows += self._held[-1].num_rows
        return self._written() if self._rows >= _BATCH_ROWS else b""

    def end(self, following: object) -> bytes:  # noqa: ARG002
        """Return the last rows, and the mark of the end."""
        return self._written() + _END

    def _written(self) -> bytes:
        held, self._held, self._rows = self._held, [], 0
        return bytes(self._pa.concat_batches(held).serialize()) if held else b""
