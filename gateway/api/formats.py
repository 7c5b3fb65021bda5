"""The forms of an answer: JSON, a row a line, CSV and Arrow; which one a client asks for, and the writers of the last two.

JSON and NDJSON are the views' own (`View.render`). Rows for CSV and Arrow come as blocks of columns, from `View.columns` or, a
page at a time, from whoever has them; nothing here holds more than a few blocks. Arrow needs pyarrow, an extra.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from actors.views.view import Column, Field
from gateway.api.errors import Problem, shown

_BATCH_ROWS = 4_096
"""Rows of an Arrow batch, at least, where there are so many."""

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How an Arrow IPC stream ends: the mark of a message, of no length."""

_FLAGS = ("false", "true")
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class Writer(Protocol):
    """Writes one answer: `begin` once, `block` for each block of columns, `end` once. Each may return nothing yet."""

    def begin(self) -> bytes:
        """Return what stands before the first row: the names of the columns."""

    def block(self, columns: Mapping[str, Column]) -> bytes:
        """Return rows as bytes. `columns` has one for each field, all of one length."""

    def end(self) -> bytes:
        """Return what is left."""


class CsvWriter:
    r"""RFC 4180: a line of names, then a row a line, each ended by CR LF. None is an empty value, a list is written as JSON.

    >>> writer = CsvWriter([Field("name", "text"), Field("count")])
    >>> writer.begin() + writer.block({"name": ["a", "b, c"], "count": np.array([1, 2])})
    b'name,count\r\na,1\r\n"b, c",2\r\n'
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._numbers = all(field.kind == "integer" and not field.optional for field in fields)
        self._form = b",".join([b"%d"] * len(fields)) + b"\r\n"

    def begin(self) -> bytes:
        """Return the line of names."""
        return _lines([[field.name for field in self._fields]])

    def block(self, columns: Mapping[str, Column]) -> bytes:
        """Return rows as lines. Cost: 0.1 us a value where all are integers, 0.2 us else."""
        found = [columns[field.name] for field in self._fields]
        if self._numbers:
            table = np.stack([np.asarray(column, np.int64) for column in found], axis=1)
            return (self._form * len(table)) % tuple(table.ravel().tolist())
        values = (_values(field, column) for field, column in zip(self._fields, found, strict=True))
        return _lines(zip(*values, strict=True))

    def end(self) -> bytes:
        """Return nothing: a CSV has no end."""
        return b""


def _values(field: Field, column: Column) -> Iterable[object]:
    values = column.tolist() if isinstance(column, np.ndarray) else column
    match field.kind:
        case "flag":
            return map(_FLAGS.__getitem__, values)
        case "integers":
            return (msgspec.json.encode(each).decode() for each in values)
        case _:
            return values


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


class ArrowWriter:
    """An Arrow IPC stream: the message of the schema, with `told` as its metadata, and those of batches of rows.

    Raises Problem 501 without pyarrow.
    """

    def __init__(self, fields: Sequence[Field], told: Mapping[str, str]) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, and slow to load
        except ImportError:
            expected = "the extra `arrow`: pip install 'firnline[arrow]'"
            raise Problem(501, where="format arrow", expected=expected, got="no pyarrow") from None
        kinds = {"integer": pa.int64(), "text": pa.string(), "flag": pa.bool_(), "integers": pa.list_(pa.int64())}
        self._pa: Any = pa
        self._schema = pa.schema(
            [pa.field(field.name, kinds[field.kind], nullable=field.optional) for field in fields], metadata=dict(told)
        )
        self._held: list[Any] = []
        self._rows = 0

    def begin(self) -> bytes:
        """Return the schema."""
        return bytes(self._schema.serialize())

    def block(self, columns: Mapping[str, Column]) -> bytes:
        """Return the rows once there are enough of them for a batch. Cost: a copy of numbers, 0.1 us a text."""
        arrays = [self._pa.array(columns[field.name], field.type) for field in self._schema]
        self._held.append(self._pa.record_batch(arrays, schema=self._schema))
        self._rows += self._held[-1].num_rows
        return self._written() if self._rows >= _BATCH_ROWS else b""

    def end(self) -> bytes:
        """Return the last rows, and the mark of the end."""
        return self._written() + _END

    def _written(self) -> bytes:
        held, self._held, self._rows = self._held, [], 0
        return bytes(self._pa.concat_batches(held).serialize()) if held else b""


@dataclass(frozen=True, slots=True)
class Format:
    """One form: its name in `format=`, its media type, and what writes it; None where the view itself does."""

    name: str
    media_type: str
    of: Callable[[Sequence[Field], Mapping[str, str]], Writer] | None = None

    @property
    def content_type(self) -> str:
        """The header of an answer in it."""
        return f"{self.media_type}; charset=utf-8" if self.media_type.startswith("text/") else self.media_type

    def writer(self, fields: Sequence[Field], told: Mapping[str, str]) -> Writer:
        """Return a writer for one answer: of `fields`, with what is `told` of it where the form has room for that.

        For whoever gets blocks one by one, as the pages of sets. Raises Problem 501 where a package is missing: make it before
        the response begins.
        """
        assert self.of is not None, "the view writes JSON"
        return self.of(fields, told)

    def write(
        self, blocks: Iterable[Mapping[str, Column]], fields: Sequence[Field], told: Mapping[str, str]
    ) -> Iterator[bytes]:
        """Return the pieces of an answer as they are made of `blocks`, none of them empty. Raises at once as `writer` does."""
        return _pieces(self.writer(fields, told), blocks)


def _pieces(writer: Writer, blocks: Iterable[Mapping[str, Column]]) -> Iterator[bytes]:
    yield writer.begin()
    for block in blocks:
        if piece := writer.block(block):
            yield piece
    if piece := writer.end():
        yield piece


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("json", "application/json"),
        Format("ndjson", "application/x-ndjson"),
        Format("csv", "text/csv", lambda fields, _: CsvWriter(fields)),
        Format("arrow", "application/vnd.apache.arrow.stream", ArrowWriter),
    )
}
"""All forms by name, the one that a client without a wish gets first."""


def chosen(named: str | None, accept: str) -> Format:
    """Return the form that a request wants: the `named` one (`format=`), else the best that its `Accept` header takes.

    Of equally good ones the first of the table. Raises Problem 400 for a name that is not, 406 where none is accepted.

    >>> chosen(None, "text/csv;q=0.5, application/*;q=0.4").name, chosen(None, "").name, chosen("arrow", "text/csv").name
    ('csv', 'json', 'arrow')
    """
    if named is not None:
        if named not in FORMATS:
            raise Problem(400, where="query format", expected="one of " + ", ".join(FORMATS), got=repr(shown(named)))
        return FORMATS[named]
    if not accept.strip():
        return FORMATS["json"]
    ranges = weights(accept)
    liked = {name: _weight(each.media_type, ranges) for name, each in FORMATS.items()}
    best = max(liked, key=liked.__getitem__)
    if not liked[best]:
        expected = "one of " + ", ".join(each.media_type for each in FORMATS.values())
        raise Problem(406, where="header Accept", expected=expected, got=repr(shown(accept)))
    return FORMATS[best]


def weights(header: str) -> dict[str, float]:
    """Return what an `Accept` or `Accept-Encoding` header names, in small letters, each with its weight.

    A weight that nobody can read counts as 1.

    >>> weights("gzip;q=0.5, *;q=0, br")
    {'gzip': 0.5, '*': 0.0, 'br': 1.0}
    """
    found: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q" and _WEIGHT.fullmatch(value.strip()):
                weight = float(value)
        if name:
            found[name] = weight
    return found


def _weight(media_type: str, ranges: Mapping[str, float]) -> float:
    """Return the weight of the most specific range that a media type is in; 0 for none."""
    for wanted in (media_type, media_type.partition("/")[0] + "/*", "*/*", "*"):
        if wanted in ranges:
            return ranges[wanted]
    return 0.0
