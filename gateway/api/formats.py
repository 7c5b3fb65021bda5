"""The formats of an answer: JSON, a row a line, CSV and Arrow; and which of them a request asks for."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actors.replies import Answer
from actors.views.view import Shape
from gateway.api.errors import Problem, shown
from gateway.api.writers import ArrowWriter, CsvWriter, JsonWriter, NdjsonWriter, Writer

_LONGEST_PIECE = 65_536
_NONE: Mapping[str, Any] = {}
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its name in `format=`, its media type, and its writer.

    `writer` takes the shape of the answer's rows, the members of its JSON object beside the rows, and the metadata of a table.
    It raises Problem 501 if a package is missing. The writer of a `table` may load a package, so call that in a thread.
    """

    name: str
    media_type: str
    writer: Callable[[Shape, Mapping[str, object], Mapping[str, str]], Writer]
    table: bool = False

    @property
    def content_type(self) -> str:
        """The header of an answer in this format."""
        return f"{self.media_type}; charset=utf-8" if self.media_type.startswith("text/") else self.media_type


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("json", "application/json", lambda shape, members, _: JsonWriter(shape, members)),
        Format("ndjson", "application/x-ndjson", lambda shape, *_: NdjsonWriter(shape)),
        Format("csv", "text/csv", lambda shape, *_: CsvWriter(shape.fields), table=True),
        Format(
            "arrow",
            "application/vnd.apache.arrow.stream",
            lambda shape, _, metadata: ArrowWriter(shape.fields, metadata),
            table=True,
        ),
    )
}
"""All formats by name. A client without a preference gets the first."""


def write(
    answer: Answer, form: str, members: Mapping[str, object] = _NONE, metadata: Mapping[str, str] = _NONE
) -> Iterator[bytes]:
    """Yield an answer in pieces of at most 64 KiB, each made when it is needed. The first raises as `Format.writer` does."""
    view, arguments = answer.view, answer.arguments
    writer = FORMATS[form].writer(view.shape(arguments), members, metadata)
    yield writer.begin()
    following: object = None
    for block in view.blocks(answer.partial, answer.span, arguments):
        following = block.following
        piece = writer.block(block.columns)
        if len(piece) <= _LONGEST_PIECE:
            yield piece
        else:
            yield from (piece[at : at + _LONGEST_PIECE] for at in range(0, len(piece), _LONGEST_PIECE))
    yield writer.end(following)


def chosen(named: str | None, accept: str) -> Format:
    """Return the format that a request wants: the `named` one (`format=`), else the best one that its `Accept` header allows.

    Of equally good formats, the first of the table. Raises Problem 400 for an unknown name, 406 if no format is accepted.

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
    """Return the values of an `Accept` or `Accept-Encoding` header in lower case, each with its weight.

    A malformed weight counts as 1.

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
    """Return the weight of the most specific range that contains a media type; 0 if none does."""
    for wanted in (media_type, media_type.partition("/")[0] + "/*", "*/*", "*"):
        if wanted in ranges:
            return ranges[wanted]
    return 0.0
