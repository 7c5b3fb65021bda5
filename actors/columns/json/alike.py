"""Divides the records of a poll into groups of one shape, which are read as columns, and a rest for the parser."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actors.columns.json.template import Template
from actors.columns.text import Text
from actors.columns.times import Times
from actors.columns.values import Values

_FEWEST = 256
"""Fewer records are not worth a template."""

_SHAPES = 3
"""Groups of a poll at most."""

_SAMPLES = 8
_WORTH = 0.4
"""A template is used if this share of the samples fits."""


class Group(NamedTuple):
    """Records of one shape: their indices in the poll, ascending, and the columns of their wanted members."""

    rows: Times
    texts: dict[str, Text]
    numbers: dict[str, Times]


class Alike:
    """Reads the wanted members of JSON objects: plain strings `texts`, and whole numbers `numbers` that are below `below`.

    A name in both may be of either kind. `at` has the names on the way to a member that is not one of the root.

    `parse` is the decoder's own parser. It reads the samples, and raises one of `errors` if a record is not an event.
    """

    def __init__(
        self,
        parse: Callable[[bytes], object],
        errors: tuple[type[Exception], ...],
        *,
        texts: Collection[str],
        numbers: Collection[str],
        below: int,
        at: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._parse = parse
        self._errors = errors
        self._texts = texts
        self._numbers = numbers
        self._below = below
        self._at = at

    def groups(self, values: Values) -> tuple[list[Group], Times]:
        """Return the groups of one shape, and the indices of the records for the parser, ascending.

        Cost: 0.2 us a record in a group, and 0.2 ms for a poll; 0.1 ms if no shape is worth a template.
        """
        groups: list[Group] = []
        left = np.arange(len(values))
        while left.size >= _FEWEST and len(groups) < _SHAPES:
            template = self._template(values, left)
            if template is None:
                break
            fits, texts, numbers = template.match(
                values.text if left.size == len(values) else values.text.only(left), self._below
            )
            groups.append(Group(left[fits], texts, numbers))
            left = left[~fits]
        return groups, left

    def _template(self, values: Values, left: Times) -> Template | None:
        samples = []
        for place in left[np.linspace(0, left.size - 1, _SAMPLES).astype(np.int64)].tolist():
            value = values[place] or b""
            try:
                self._parse(value)
            except self._errors:
                continue
            samples.append(value)
        template = Template.learned(samples, texts=self._texts, numbers=self._numbers, at=self._at)
        return None if template is None or template.samples < _WORTH * _SAMPLES else template
