"""What the processes of a cluster send each other: questions, and parts of answers that own their bytes. No code is run.

Each view that can be in a cluster has a module `parcel` in its package: `ARGUMENTS`, the types of its queries' arguments by
name; `packed`, a partial as a state, as few bytes as possible; `unpacked`, its inverse; `joined`, the merge of parts of several
shards. The law: rendering the join of unpacked parts is the same as rendering the merge of the parts. What else the protocol
has, the module has only if its view needs another one than most views, see `_Plain`.

The `clock` is the time that the stream has passed in all shards, as one process would have it. It is None if it is unknown, or
if a shard gives no part.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol, cast

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from actors.cluster.messages import Moved, Part, Place
from actors.columns import snapshot
from actors.columns.snapshot import State
from actors.protocol import Busy
from actors.replies import Coverage
from actors.timeline.span import Span
from actors.views.view import View

_KIND = "part"


class Parcel(Protocol):
    """The module `parcel` of a view."""

    ARGUMENTS: Mapping[str, type[Any]]

    def of_shard(
        self, view: View, *, shard: int, shards: int, partitions: Callable[[], int], complain: Callable[[str], object]
    ) -> View:
        """Return the view for the slices of a shard, whose topic has `partitions()` partitions. `complain` gets troubles."""

    def homes(self, batch: Any, shards: int) -> NDArray[np.int64]:
        """Return the shard of each event of a decoded batch. Only a view whose records may come from a topic by key has it."""

    def asks(self, arguments: Any, shards: int) -> Sequence[int]:
        """Return the shards that a question is for, in order."""

    def packed(self, view: View, partial: Any, arguments: Any) -> State:
        """Return a partial as a state that shares nothing with slices."""

    def unpacked(self, view: View, state: State) -> Any:
        """Return the partial of a state. Raises ValueError, TypeError, KeyError or IndexError."""

    def first(self, arguments: Any, span: Span) -> tuple[Any, Span]:
        """Return the arguments and the span with which each shard is asked first."""

    def further(self, arguments: Any, asked: Any, partials: Sequence[Any], *, clock: int | None) -> Any | None:
        """Return the arguments with which each shard is asked next, by the parts of the last question; None: they suffice."""

    def joined(
        self,
        view: View,
        partials: Sequence[Any],
        *,
        until: int | None,
        idle: bool,
        clock: int | None,
        span: Span,
        arguments: Any,
    ) -> Any:
        """Join the partials of shards. All of them have passed the time `until`, unless it is None. `idle`: all have read all.

        With partials of all slices of one shard alone it is their merge.
        """

    def refusal(self, partials: Sequence[Any]) -> str | None:
        """Return why the partials cannot be joined, None if they can."""

    def steady(self, view: View, partial: Any, arguments: Any) -> bool:
        """Return whether a join of frozen slices stays as it is while the clock goes on."""


class _Plain:
    """What a view has whose shards are those of one process, are asked once, and can always be joined."""

    @staticmethod
    def of_shard(view: View, **_: Any) -> View:
        """Return the view as it is."""
        return view

    @staticmethod
    def asks(arguments: Any, shards: int) -> Sequence[int]:  # noqa: ARG004  # the protocol's
        """Return all shards."""
        return range(shards)

    @staticmethod
    def first(arguments: Any, span: Span) -> tuple[Any, Span]:
        """Return both as they are."""
        return arguments, span

    @staticmethod
    def further(*_: Any, clock: int | None) -> None:
        """Ask no second time."""

    @staticmethod
    def refusal(partials: Sequence[Any]) -> None:
        """Refuse no parts."""

    @staticmethod
    def steady(*_: Any) -> bool:
        """Return True: the clock changes nothing that is frozen."""
        return True


@cache
def parcel_of(view: str) -> Parcel:
    """Return what the module of a view has, and the rest as most views have it."""
    module = import_module(f"actors.views.{view}.parcel")
    plain = {name: part for name, part in vars(_Plain).items() if isinstance(part, staticmethod)}
    return cast("Parcel", SimpleNamespace(**{**plain, **vars(module)}))


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A query to one shard of a stream, which must have the lease `epoch`. `arguments` are of the type `kind`, encoded."""

    stream: str
    shard: int
    epoch: int
    start: int
    end: int
    kind: str
    arguments: bytes
    deadline_s: float

    @property
    def span(self) -> Span:
        """The span of the query."""
        return Span(self.start, self.end)


_encode = msgspec.msgpack.Encoder().encode
_question = msgspec.msgpack.Decoder(Question).decode
_pieces = msgspec.msgpack.Decoder(list[memoryview]).decode


def question_bytes(stream: str, shard: int, epoch: int, *, span: Span, arguments: Any, deadline_s: float) -> bytes:
    """Return a question as bytes."""
    kind = type(arguments).__name__
    return _encode(Question(stream, shard, epoch, span.start, span.end, kind, _encode(arguments), deadline_s))


def question_of(data: bytes | memoryview) -> Question:
    """Return the question in `data`. Raises msgspec.MsgspecError or ValueError."""
    return _question(data)


def arguments_of(question: Question, view: str) -> Any:
    """Return the arguments of a question to a stream of a view. Raises msgspec.MsgspecError, KeyError or ValueError."""
    return msgspec.msgpack.decode(question.arguments, type=parcel_of(view).ARGUMENTS[question.kind])


def together(pieces: Sequence[bytes]) -> bytes:
    """Return several questions, or parts of answers, as one text. Cost: a copy."""
    return _encode(pieces)


def apart(data: bytes) -> list[memoryview]:
    """Return the pieces of a text of `together`, as views of it. Raises msgspec.MsgspecError."""
    return _pieces(data)


def part_bytes(name: str, view: View, part: Part, arguments: Any) -> bytes:
    """Return a part as bytes. `name` is that of the view. Cost: that of its `packed`, and a checksum."""
    state = {
        "partial": parcel_of(name).packed(view, part.partial, arguments),
        "coverage": msgspec.to_builtins(part.coverage),
        "origin": part.origin,
        "idle": part.idle,
        "epoch": part.epoch,
        "silence": part.silence,
        "per_s": part.per_s,
        "whole_s": part.whole_s,
        "news_s": part.news_s,
        "past": part.past,
    }
    data = bytearray()
    snapshot.write(_KIND, state, data.extend)
    return bytes(data)


def busy_bytes(reason: str, place: Place | None = None) -> bytes:
    """Return the reason why there is no part, and the `place` that has one, as bytes."""
    data = bytearray()
    snapshot.write(_KIND, {"busy": reason, "place": None if place is None else astuple(place)}, data.extend)
    return bytes(data)


def refusal_bytes(reply: Busy) -> bytes:
    """Return a reply without a part as bytes."""
    return busy_bytes(reply.reason, reply.place if isinstance(reply, Moved) else None)


def part_of(name: str, view: View, data: bytes | memoryview) -> Part | Busy:
    """Return the part in `data`, or the reason without one. Its columns are views of `data`. Raises ValueError."""
    state = snapshot.read(_KIND, data)
    try:
        if "busy" in state:
            reason, place = str(state["busy"]), state["place"]
            return Busy(reason) if place is None else Moved(reason, Place(*place))
        coverage = msgspec.convert(state["coverage"], Coverage)
        origin, silence = state["origin"], state["silence"]
        return Part(
            parcel_of(name).unpacked(view, state["partial"]),
            coverage,
            None if origin is None else tuple((int(one), int(two)) for one, two in origin),
            bool(state["idle"]),
            int(state["epoch"]),
            len(data),
            None if silence is None else int(silence),
            int(state["per_s"]),
            _seconds(state["whole_s"]),
            _seconds(state["news_s"]),
            tuple((float(age_s), int(watermark)) for age_s, watermark in state["past"]),
        )
    except (TypeError, KeyError, IndexError, msgspec.ValidationError) as error:
        raise ValueError(f"this is no part of an answer: {error}") from None


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
