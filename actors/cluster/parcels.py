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

from actors.cluster.messages import CARRIED, Moved, Part, Place
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

    def merged(self, view: View, partials: Sequence[Any], arguments: Any) -> Any | None:
        """Return the partials of shards as that of one, which joins with others as they would. None: they stay apart."""

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
    def merged(*_: Any) -> None:
        """Leave them apart."""

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
    """A query to one shard of a stream, which must have the lease `epoch`. `arguments` are of the type `kind`, encoded.

    `joint`: whoever asks for several shards at once can read a reply of `reply_bytes` in which their parts are one.
    """

    stream: str
    shard: int
    epoch: int
    start: int
    end: int
    kind: str
    arguments: bytes
    deadline_s: float
    joint: bool = False

    @property
    def span(self) -> Span:
        """The span of the query."""
        return Span(self.start, self.end)


_encode = msgspec.msgpack.Encoder().encode
_question = msgspec.msgpack.Decoder(Question).decode
_pieces = msgspec.msgpack.Decoder(list[memoryview]).decode


def question_bytes(
    stream: str, shard: int, epoch: int, *, span: Span, arguments: Any, deadline_s: float, joint: bool = False
) -> bytes:
    """Return a question as bytes."""
    kind = type(arguments).__name__
    return _encode(Question(stream, shard, epoch, span.start, span.end, kind, _encode(arguments), deadline_s, joint))


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


class _Told(msgspec.Struct, frozen=True, array_like=True):
    """A part without its partial, or the reason without one. See `Part`."""

    busy: str | None
    coverage: Coverage
    origin: tuple[tuple[int, int], ...] | None = None
    idle: bool = False
    epoch: int = 0
    silence: int | None = None
    per_s: int = 1_000
    whole_s: float | None = None
    news_s: float | None = None
    past: tuple[tuple[float, int], ...] = ()
    place: Place | None = None

    def part(self, partial: Any, nbytes: int) -> Part | Busy:
        """Return the part with a partial."""
        if self.busy is not None:
            return Busy(self.busy) if self.place is None else Moved(self.busy, self.place)
        ages = (self.silence, self.per_s, self.whole_s, self.news_s, self.past)
        return Part(partial, self.coverage, self.origin, self.idle, self.epoch, nbytes, *ages)

    @staticmethod
    def of(part: Part | Busy) -> "_Told":
        """Return what is to be sent of a part."""
        if isinstance(part, Busy):
            return _Told(part.reason, _UNKNOWN, place=part.place if isinstance(part, Moved) else None)
        ages = (part.silence, part.per_s, part.whole_s, part.news_s, part.past)
        return _Told(None, part.coverage, part.origin, part.idle, part.epoch, *ages)


_UNKNOWN = Coverage(None, None, None)
_told = msgspec.msgpack.Decoder(list[_Told]).decode


def reply_bytes(name: str, view: View, asked: Sequence[tuple[Question, Any]], replies: Sequence[Part | Busy]) -> list[bytes]:
    """Return the replies to questions about one stream, each with its arguments, as bytes.

    If all questions are the same but for the shard, and may have a joint reply, and the view can merge the parts, the first
    text has all parts, with one partial, and the others are empty. Cost: that of `part_bytes`, and of the merge.
    """
    first, arguments = asked[0]
    if len(asked) > 1 and len({(each.start, each.end, each.kind, each.arguments, each.joint) for each, _ in asked}) == 1:
        partials = [reply.partial for reply in replies if isinstance(reply, Part)]
        merged = parcel_of(name).merged(view, partials, arguments) if first.joint and len(partials) > 1 else None
        if merged is not None:
            data = bytearray()
            told = _encode([_Told.of(reply) for reply in replies])
            snapshot.write(_KIND, {"partial": parcel_of(name).packed(view, merged, arguments), "told": told}, data.extend)
            return [bytes(data), *[b""] * (len(asked) - 1)]
    return [
        refusal_bytes(reply) if isinstance(reply, Busy) else part_bytes(name, view, reply, own)
        for (_, own), reply in zip(asked, replies, strict=True)
    ]


def parts_of(name: str, view: View, pieces: Sequence[bytes | memoryview]) -> list[Part | Busy]:
    """Return the parts in the texts of `reply_bytes`. What is no part is `Busy`, with the reason.

    If one text has all of them, the first part has its partial, and the partials of the others are `CARRIED`.
    """
    if len(pieces) > 1 and not any(map(len, pieces[1:])):
        try:
            return _joint(name, view, pieces[0], len(pieces))
        except ValueError as error:
            return [Busy(str(error))] * len(pieces)
    found: list[Part | Busy] = []
    for each in pieces:
        try:
            found.append(part_of(name, view, each))
        except ValueError as error:
            found.append(Busy(str(error)))
    return found


def _joint(name: str, view: View, data: bytes | memoryview, count: int) -> list[Part | Busy]:
    """Return `count` parts of a joint reply. Raises ValueError."""
    state = snapshot.read(_KIND, data)
    try:
        partial, told = parcel_of(name).unpacked(view, state["partial"]), _told(bytes(state["told"]))
    except (TypeError, KeyError, IndexError, msgspec.MsgspecError) as error:
        raise ValueError(f"this is no part of an answer: {error}") from None
    if len(told) != count:
        raise ValueError(f"{len(told)} parts for {count} questions")
    first = next((place for place, each in enumerate(told) if each.busy is None), None)
    return [each.part(partial, len(data)) if place == first else each.part(CARRIED, 0) for place, each in enumerate(told)]


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
