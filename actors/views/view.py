"""The contract between the actors and a view. An actor calls these and nothing else, so it never knows a view.

A view decodes records, opens live slices, merges what slices read, renders it, and writes what is due to be published.
Slices hold the answers: live while events come in, frozen for ever after. `merge` is associative with an identity, and
reading a whole equals merging the reads of its parts, live or frozen; `tests/views/test_views.py` holds every view to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.timeline.span import Span

NONE_LOST: Mapping[str, int] = {}
"""What a slice answers that has kept every event."""


class Records(Protocol):
    """One poll as its source read it, in order of arrival. What only some views look at is made when it is asked for."""

    @property
    def values(self) -> Sequence[bytes | None]:
        """The value of each record; None is a tombstone."""

    @property
    def partitions(self) -> NDArray[np.unsignedinteger]:
        """The partition of each record."""

    @property
    def epoch(self) -> int:
        """How often the topic was deleted and created again so far: offsets of two epochs have nothing in common."""

    def offsets(self) -> NDArray[np.int64]:
        """Return the offset of each record, which grows within a partition and epoch. Cost: some 50 ns a record."""

    def timestamps(self) -> NDArray[np.int64]:
        """Return the time that the source gives each record, ms since 1970. Cost: some 100 ns a record."""

    def key_of(self, place: int) -> bytes | None:
        """Return the key of the record at `place` in the poll."""


class Events(Protocol):
    """A batch of events as a view's decoder makes it and its live slices take it: columns, opaque to the actors."""

    @property
    def count(self) -> int:
        """How many events there are."""

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""

    def first(self) -> int | None:
        """Return the earliest time, or None when there is no event."""

    def last(self) -> int | None:
        """Return the latest time, or None when there is no event."""


class Refusal(NamedTuple):
    """A record that is no event: its place in the poll, and the reason, one of the view's few."""

    place: int
    reason: str


class Decoded(NamedTuple):
    """One poll, decoded: the time of each event in order of arrival, and the events as a live slice takes them."""

    times: Times
    batch: Any
    accepted: NDArray[np.bool_] | None
    """Which records of the poll are events; None where all are."""
    refusals: list[Refusal]


class Due(NamedTuple):
    """What has become due to be published: the answer to a question over all slices, and what is known of it beside them.

    Where `arguments` is None no slice is asked, and `partial` is all. Its collector adds what the live slice says at once, so
    the frozen ones alone are asked later.
    """

    span: Span
    arguments: Any
    partial: Any


class Field(NamedTuple):
    """A column of an answer: its name, and what each of its values is, or is not where it is `optional`."""

    name: str
    kind: Literal["integer", "text", "flag", "integers"] = "integer"
    optional: bool = False


Column = NDArray[np.int64] | NDArray[np.bool_] | list[Any]
"""Values of one field: an array of int64 or bool, or a list of text, of lists of integers, or of what may be None."""


class Summary(Protocol):
    """What one slice adds to the whole: small, immutable, and composed in the order of slices by `then`."""

    def then(self, later: Self) -> Self:
        """Return the summary of this slice and the `later` one together. Associative, with the view's `nothing`."""

    def state(self) -> State:
        """Return what `View.summary` makes the same summary of."""


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
    coarse_bytes: int = 0
    """Bytes that a frozen slice would free by `coarsen`."""
    file_bytes: int = 0
    """Bytes that it has on the disk alone; the collector says so, not the slice."""


class Live(Protocol):
    """A slice that events come into. Not thread-safe: its collector owns it."""

    def add(self, batch: Any, watermark: int | None) -> Mapping[str, int]:
        """Take in a batch, ordered where the view has `categories`; not after it is `full`.

        Either all of the batch is taken or, on an error, nothing. Returns how many events were not kept, by reason.
        """

    def close(self, watermark: int | None, *, idle: bool) -> Due | None:
        """Return what is due to be published by now, each thing once, or None.

        Called after every batch, and with `idle` when the stream has fallen silent or ended: then what is open is due too.
        """

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

    def state(self) -> State:
        """Return what `View.revive` makes a slice of that goes on as this one would. Not with results taken and not published.

        It does not change with what comes in later: it shares what is immutable, and copies the rest. It is written by another
        thread, later.
        """


class Frozen(Protocol):
    """A slice that answers for ever what it answered when it was frozen."""

    def settle(self) -> bool:
        """Compress one more piece; returns whether more is left to do."""

    def read(self, span: Span, arguments: Any) -> Any:
        """Return the partial answer for `span`, as the live slice did."""

    def coarsen(self) -> None:
        """Give up exactness, within bounds that answers state, for `Meta.coarse_bytes`. Exact views have nothing to give."""

    def meta(self) -> Meta:
        """Describe the slice."""

    def state(self) -> State:
        """Return what `View.thaw` makes the same slice of. Nothing is copied; later calls of `settle` do not change it."""


class View(Protocol):
    """One kind of answer over a stream. Stateless; shared by every thread."""

    @property
    def categories(self) -> int:
        """How many columns of times a batch has, to be put in order of time; 0 where slices take events as they come."""

    def decode(self, records: Records) -> Decoded:
        """Read a whole poll. Never raises for what a record holds: that is a refusal."""

    def open(self, carry: Any | None) -> Live:
        """Start a live slice with what its predecessor left, or with nothing. It may be full at once."""

    def revive(self, state: State) -> Live:
        """Return the live slice of which `state` was taken. Copies what changes.

        Raises ValueError, TypeError, KeyError or IndexError for what is no such state.
        """

    def thaw(self, state: State) -> Frozen:
        """Return the frozen slice of which `state` was taken. Its bytes may be views of a mapped file, and are not copied.

        Raises as `revive` does.
        """

    def summary(self, state: State) -> Summary:
        """Return the summary of which `state` was taken. Raises as `revive` does."""

    def nothing(self) -> Summary:
        """Return the summary of no slice."""

    def select(self, metas: Sequence[Meta], span: Span, arguments: Any) -> list[int]:
        """Return the indexes of the frozen slices that a query needs. Touches metas only."""

    def merge(self, partials: Sequence[Any]) -> Any:
        """Join partial answers. Associative; no partials give the identity."""

    def recall(self, gone: Any, span: Span, arguments: Any) -> Any:
        """Return, as a partial, what `gone`, the summary of all dropped slices, still knows of an answer."""

    def publish(self, partial: Any, due: Due) -> Iterator[bytes]:
        """Write the merged answer to a `Due` for sinks, in blocks of bounded size; a line feed ends each record."""

    def render(self, partial: Any, span: Span, arguments: Any, form: str, members: Mapping[str, object]) -> Iterator[bytes]:
        """Write the answer in pieces, in the `form` json or ndjson. Bounded memory, however long the answer.

        `members` are added to the JSON object at its end.
        """

    def fields(self, arguments: Any) -> tuple[Field, ...]:
        """Return the columns that `columns` yields for `arguments`, in order."""

    def columns(self, partial: Any, span: Span, arguments: Any) -> Iterator[Mapping[str, Column]]:
        """Yield the rows that `render` writes, in the same order, as blocks of columns of one length: one of each of `fields`.

        A block may be empty. Memory and cost are at most those of `render`.
        """

    def describe(self, before: Any, meta: Meta) -> dict[str, object]:
        """Return a slice's row of the stats, `before` being the summary of all slices before it."""
