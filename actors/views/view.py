"""The contract between the actors and a view. An actor calls these and nothing else, so it never knows a view.

A view decodes records, opens live slices, merges what slices read, and renders it. Slices hold the answers: live while
events come in, frozen for ever after. `merge` is associative with an identity, and reading a whole equals merging the
reads of its parts, live or frozen; `tests/test_views.py` holds every view to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from actors.timeline.batch import Batch, Times
from actors.timeline.span import Span


class Refusal(NamedTuple):
    """A record that is no event: its place in the poll, and the reason, one of the view's few."""

    place: int
    reason: str


class Decoded(NamedTuple):
    """One poll, decoded, in order of arrival: a time and a category for each event."""

    times: Times
    categories: NDArray[np.int8]
    accepted: NDArray[np.bool_] | None
    """Which records of the poll are events; None where all are."""
    refusals: list[Refusal]


class Summary(Protocol):
    """What one slice adds to the whole: small, immutable, and composed in the order of slices by `then`."""

    def then(self, later: Self) -> Self:
        """Return the summary of this slice and the `later` one together. Associative, with the view's `nothing`."""


@dataclass(frozen=True, slots=True)
class Meta:
    """A slice as others see it, without its data: enough to select it for a query, to account for it and to drop it."""

    span: Span | None
    """Every time by which it can be asked; None while it has none."""
    events: int
    """Events that it holds, answered or waiting."""
    nbytes: int
    dead_bytes: int
    """Bytes of what only a late event could still use."""
    final_until: int | None
    """The time before which late events change nothing any more; None where nothing is final."""
    summary: Any


class Live(Protocol):
    """A slice that events come into. Not thread-safe: its collector owns it."""

    def add(self, batch: Batch, watermark: int | None) -> None:
        """Take in an ordered batch; not after it is `full`. Either all of the batch is taken or, on an error, nothing."""

    @property
    def full(self) -> bool:
        """Whether the slice has reached its limit, so that it must be frozen."""

    def read(self, span: Span, arguments: Any) -> Any:
        """Return the partial answer for `span`: immutable, whatever comes in later."""

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of what waits, the dead first, then the oldest.

        Returns the events forgotten, by reason, and the time before which answers may lack something for it.
        """

    def freeze(self) -> tuple["Frozen", Any]:
        """Return the finished answers, and the carry for the successor. The live slice is used up."""

    def meta(self) -> Meta:
        """Describe the slice as it stands. Cost: O(1) in the usual case."""


class Frozen(Protocol):
    """A slice that answers for ever what it answered when it was frozen."""

    def settle(self) -> bool:
        """Compress one more piece; returns whether more is left to do."""

    def read(self, span: Span, arguments: Any) -> Any:
        """Return the partial answer for `span`, as the live slice did."""

    def meta(self) -> Meta:
        """Describe the slice."""


class View(Protocol):
    """One kind of answer over a stream. Stateless; shared by every thread."""

    @property
    def categories(self) -> int:
        """How many categories of events there are."""

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Read a whole poll. Never raises for what a record holds: that is a refusal."""

    def open(self, carry: Any | None) -> Live:
        """Start a live slice with what its predecessor left, or with nothing. It may be full at once."""

    def nothing(self) -> Summary:
        """Return the summary of no slice."""

    def select(self, metas: Sequence[Meta], span: Span, arguments: Any) -> list[int]:
        """Return the indexes of the frozen slices that a query needs. Touches metas only."""

    def merge(self, partials: Sequence[Any]) -> Any:
        """Join partial answers. Associative; no partials give the identity."""

    def render(self, partial: Any, span: Span, arguments: Any, form: str, members: Mapping[str, object]) -> Iterator[bytes]:
        """Write the answer in pieces, in the `form` json or ndjson. Bounded memory, however long the answer.

        `members` are added to the JSON object at its end.
        """

    def describe(self, before: Any, meta: Meta) -> dict[str, object]:
        """Return a slice's row of the stats, `before` being the summary of all slices before it."""
