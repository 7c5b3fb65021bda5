"""The contract between the actors and a view. Actors call these methods only and know no particular view.

A view decodes records, opens live slices, merges what slices read, renders answers, and writes results for sinks. A live
slice takes events in; a frozen slice no longer changes. `merge` is associative and has an identity, and reading a whole
equals merging the reads of its parts, live or frozen. `tests/views/test_views.py` holds every view to these laws.
"""
# ruff: noqa: ARG002  # a default method often needs none of its arguments

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.columns.values import Values
from actors.timeline.grid import Grid
from actors.timeline.span import Span

NONE_LOST: Mapping[str, int] = {}
"""The result of `Live.add` if every event of the batch was kept."""


class Records(Protocol):
    """One poll of a source, in order of arrival. Columns that only some views need are made on demand."""

    @property
    def values(self) -> Values:
        """The value of each record."""

    @property
    def partitions(self) -> NDArray[np.unsignedinteger]:
        """The partition of each record."""

    @property
    def epoch(self) -> int:
        """How many times the topic has been recreated. Offsets of different epochs are not comparable."""

    def offsets(self) -> NDArray[np.int64]:
        """Return the offset of each record, which grows within a partition and epoch. Cost: about 50 ns a record."""

    def timestamps(self) -> NDArray[np.int64]:
        """Return the timestamp of each record in the source, ms since 1970. Cost: about 100 ns a record."""

    def key_of(self, place: int) -> bytes | None:
        """Return the key of the record at index `place` of the poll."""


class Events(Protocol):
    """A batch of decoded events: columns, whose content only the view knows."""

    @property
    def count(self) -> int:
        """Number of events."""

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""

    def first(self) -> int | None:
        """Return the earliest time, or None if the batch is empty."""

    def last(self) -> int | None:
        """Return the latest time, or None if the batch is empty."""


class UnreadyError(Exception):
    """Records cannot be decoded yet, because something that they need is still asked for. The source reports why."""


class Refusal(NamedTuple):
    """A record that is not an event: its index in the poll, and one of the view's fixed reasons."""

    place: int
    reason: str


class Decoded(NamedTuple):
    """One decoded poll: the time of each event in order of arrival, and the events as a batch for a live slice.

    A record that is neither accepted nor refused is of no interest to the view, and counted as `other`.
    """

    times: Times
    batch: Any
    accepted: NDArray[np.bool_] | None
    """Which records of the poll are events; None if all are."""
    refusals: list[Refusal]


class Silence(NamedTuple):
    """The stream is silent: all records are read, and none came for a while.

    `time` is the stream's time, which goes on with the clock, less the lateness; None if it is unknown. If the source has
    `ended`, no more records will come.
    """

    time: int | None
    ended: bool = False


class Due(NamedTuple):
    """Results to publish: a question to all slices, and a partial answer to merge with theirs.

    If `arguments` is None, no slice is asked and `partial` is the whole result. The collector adds the live slice's partial
    answer at once; later only the frozen slices are asked.
    """

    span: Span
    arguments: Any
    partial: Any


class Field(NamedTuple):
    """A column of an answer: its name and the type of its values. Values of an `optional` field may be None.

    A key is text or an integer. Arrow has both as text.

    JSON writes the fields of a `group`, which follow each other, as one member of that name, an object. `meaning` describes the
    field in the API's description, if the route does not.
    """

    name: str
    kind: Literal["integer", "number", "text", "flag", "integers", "key"] = "integer"
    optional: bool = False
    group: str = ""
    meaning: str = ""


Column = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_] | list[Any]
"""Values of one field: an array of int64, float64 or bool, or a list: text, lists of integers, optional values, any numbers."""


def listed(column: Column) -> list[Any]:
    """Return the values of a column as objects of Python."""
    return column.tolist() if isinstance(column, np.ndarray) else column


class Block(NamedTuple):
    """Rows of an answer as columns of equal length: one for each of the shape's fields, in that order.

    `following` is set in the last block if the limit has cut the answer off: the place of the first row that is left out.
    """

    columns: Sequence[Column]
    following: object = None


@dataclass(frozen=True, eq=False)
class Shape:
    """The fields of an answer's rows, and how JSON writes a row. A constant of its view, for which writers prepare once.

    JSON is an object whose member `name` has the rows. NDJSON has a row a line. If all fields are integers, `row` may be a
    template with a `%d` for each. Else it is "object": an object with a member for each field; "value": the first field alone;
    or "pair": a member of an object, the first field its name and the second its value. Pairs are the whole answer if no other
    member is written. NDJSON writes a pair as an object.
    """

    name: str
    fields: tuple[Field, ...]
    row: bytes | Literal["object", "value", "pair"] = "object"
    next_is_last: bool = False
    """Whether JSON writes `next`, the place of the rows left out, after the other members instead of before them."""


class Summary(Protocol):
    """Totals of one or more consecutive slices: small and immutable."""

    def then(self, later: Self) -> Self:
        """Return the summary of these slices and the `later` ones. Associative; `View.nothing` is its identity."""

    def state(self) -> State:
        """Return the state from which `View.summary` restores this summary."""


@dataclass(frozen=True, slots=True)
class Meta:
    """A description of a slice without its data: enough to select it for a query, to count its memory and to drop it."""

    span: Span | None
    """The hull of all times in the slice; None if it is empty."""
    events: int
    """Events in the slice, matched or waiting."""
    nbytes: int
    dead_bytes: int
    """Bytes of events that only a late event could still use."""
    final_until: int | None
    """Late events do not change answers of earlier times, but may add to them; None if nothing is final."""
    summary: Any
    coarse_bytes: int = 0
    """Bytes that `Frozen.coarsen` would free."""
    file_bytes: int = 0
    """Bytes that are on disk only. Set by the collector, not by the slice."""

    def on_disk(self, nbytes: int, file_bytes: int) -> "Meta":
        """Return the description of the same slice, read from a file of `file_bytes`, with `nbytes` left in memory."""
        return replace(self, nbytes=nbytes, coarse_bytes=0, file_bytes=file_bytes)


class Live(ABC):
    """A slice that takes events in. Not thread-safe: its collector owns it.

    A slice that never becomes `full` does not implement `freeze`.
    """

    @abstractmethod
    def add(self, batch: Any, watermark: int | None) -> Mapping[str, int]:
        """Take in a batch, which is in order of time if the view has `categories`. The slice must not be `full`.

        Takes the whole batch or, on an error, nothing. Returns the number of events that were not kept, by reason.
        """

    def close(self, watermark: int | None, silence: Silence | None) -> Due | None:
        """Return the results that have become due, each of them once, or None. The default publishes nothing.

        Called after every batch, and with a `silence` if the stream is silent or has ended: then unfinished results are due
        too.
        """
        return None

    @property
    def due_at(self) -> int | None:
        """The time at which a result becomes due although no more records come. The default has none."""
        return None

    @property
    def full(self) -> bool:
        """Whether the slice has reached its limit and must be frozen. The default is never."""
        return False

    @abstractmethod
    def read(self, span: Span, arguments: Any) -> Any:
        """Return the partial answer for `span`. It is immutable and does not change with later events."""

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of waiting events: dead ones first, then the oldest. The default has none.

        Returns the number of forgotten events by reason, and the time before which answers may now be incomplete.
        """
        return {}, None

    def freeze(self) -> tuple["Frozen", Any]:
        """Return the frozen slice of the finished answers, and the carry for the successor. Ends the use of this slice."""
        raise AssertionError("a slice that never becomes full is never frozen")

    @abstractmethod
    def meta(self) -> Meta:
        """Describe the slice. Cost: usually O(1)."""

    @abstractmethod
    def state(self) -> State:
        """Return the state from which `View.revive` restores this slice, without results that `close` has returned.

        Later events do not change the state: it shares immutable parts and copies the rest. Another thread writes it later.
        """


class Frozen(ABC):
    """A slice that no longer changes: its answers stay as they were when it was frozen."""

    def settle(self) -> bool:
        """Compress one more piece; returns whether another one is left. By default nothing needs compression."""
        return False

    @abstractmethod
    def read(self, span: Span, arguments: Any) -> Any:
        """Return the same partial answer for `span` that the live slice returned."""

    def coarsen(self) -> None:  # noqa: B027  # exact views have nothing to give
        """Free `Meta.coarse_bytes` by estimates within bounds that answers state. By default a view stays exact."""

    @abstractmethod
    def meta(self) -> Meta:
        """Describe the slice."""

    @abstractmethod
    def state(self) -> State:
        """Return the state from which `View.thaw` restores this slice. Copies nothing; `settle` does not change it later."""


class View(ABC):
    """One kind of answer over a stream. Stateless; all threads share it."""

    answers: ClassVar[str]
    """The member of the view's `Summary` that counts answers."""

    counts: ClassVar[type[msgspec.Struct]]
    """The type of `describe`: what the stats say of one slice, and of all of them. A member's description is its meaning."""

    summarised: ClassVar[Shape | None] = None
    """The shape of the answers to `figures`, with the meaning of each field; None: the view has no figures."""

    metered: ClassVar[bool] = True
    """Whether `/metrics` has figures of the last minute: a query for them must cost little, however much a stream holds."""

    timed: ClassVar[bool] = True
    """Whether the axis of the answers is time. Other axes, such as batch ids, have no watermark and no lateness."""

    categories: int = 0
    """Number of columns of times in a batch that must be put in order of time; 0 if slices take events in any order."""

    @abstractmethod
    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll. Never raises because of a record's content: that is a refusal.

        Raises UnreadyError if the records cannot be decoded yet.
        """

    @abstractmethod
    def open(self, carry: Any | None) -> Live:
        """Start a live slice with its predecessor's carry, or empty. The new slice may be full at once."""

    @abstractmethod
    def revive(self, state: State) -> Live:
        """Restore a live slice from its `state`. Copies the parts that change.

        Raises ValueError, TypeError, KeyError or IndexError if `state` is invalid.
        """

    def thaw(self, state: State) -> Frozen:
        """Restore a frozen slice from its `state`. Its bytes may be views of a mapped file; they are not copied.

        Raises as `revive` does. The default is for views whose slices are never frozen.
        """
        raise ValueError("a live slice was expected: slices of this view are never frozen")

    @abstractmethod
    def summary(self, state: State) -> Summary:
        """Restore a summary from its `state`. Raises as `revive` does."""

    @abstractmethod
    def nothing(self) -> Summary:
        """Return the summary of no slice."""

    def select(self, metas: Sequence[Meta], span: Span, arguments: Any) -> list[int]:
        """Return the indexes of the frozen slices that a query needs: by default those that overlap `span`."""
        return [index for index, meta in enumerate(metas) if meta.span is not None and meta.span.overlaps(span)]

    @abstractmethod
    def weigh(self, metas: Sequence[Meta], arguments: Any) -> int:
        """Return the bytes that an answer copies or makes of the slices `metas`, at most. Cost: O(slices)."""

    def merge(self, partials: Sequence[Any]) -> Any:
        """Join partial answers, by default tuples. Associative; no partials give the identity."""
        return tuple(piece for partial in partials for piece in partial)

    def recall(self, gone: Any, span: Span, arguments: Any) -> Any:
        """Return a partial answer from `gone`, the summary of all dropped slices: by default, an empty one."""
        return ()

    def publish(self, partial: Any, due: Due) -> Iterator[bytes]:
        """Write the merged answer to a `Due` for sinks, in blocks of bounded size. A line feed ends each record."""
        return iter(())

    @abstractmethod
    def shape(self, arguments: Any) -> Shape:
        """Return the shape of the rows of the answer. It is the same object at each call with equal fields."""

    @abstractmethod
    def blocks(self, partial: Any, span: Span, arguments: Any) -> Iterator[Block]:
        """Yield the rows of the answer, in order; a block may be empty. Memory is bounded, however long the answer is."""

    @classmethod
    def buckets(cls, width: int) -> Any | None:  # noqa: ARG003
        """Return the arguments of a query whose rows are the start and the count of each bucket of `width` that has answers.

        The default is None: the view does not count its answers by time.
        """
        return None

    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Any | None:  # noqa: ARG003
        """Return the arguments of a query for figures of the answers in each bucket of `by`, or in the whole span.

        A second has `per_s` units of the times; the answer has at most `most` rows. `lengths` are those of the periods that the
        stream keeps; empty: all. Raises ValueError, with what is expected, if the view has no buckets of the length of `by`.
        The default is None: the view has no such figures.
        """
        return None

    @classmethod  # noqa: B027  # most views remember nothing
    def forget(cls) -> None:
        """Free what answers to `figures` have kept for the next ones. By default there is nothing."""

    def remarks(self, partial: Any, arguments: Any) -> Mapping[str, Any]:
        """Return facts about the answer beside its rows, by name. The default has no facts."""
        return {}

    @abstractmethod
    def describe(self, before: Any, meta: Meta) -> msgspec.Struct:
        """Return the `counts` of a slice. `before` is the summary of all earlier slices."""
