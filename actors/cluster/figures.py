"""What the processes of a cluster send each other about their shards if a client looks: state, lag, bytes. Small, no code."""

from collections.abc import Callable
from typing import Literal

import msgspec

from actors.cluster.messages import Place
from actors.protocol import Busy, Control, Data, ReplyTo
from actors.replies import GetShards, ShardState, Stats


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """A shard of the process that replies: its lease, and whether it is still reading what came before.

    `lag` counts its unread records, None if it has not replied; `nbytes` is the memory that its generations take. `problems`
    are its present ones: at most four short texts.
    """

    shard: int
    epoch: int
    state: Literal["here", "catching up"]
    lag: int | None
    nbytes: int | None
    problems: tuple[str, ...] = ()


class GetFigures(Data, frozen=True):
    """Reply the `Figures` of each shard of a stream that this process has. Sent for another process of the cluster."""

    reply_to: ReplyTo[tuple[Figures, ...]]


class Own(Control, frozen=True):
    """Who has each shard as the gatherer knows it, and the figures of those here. A roster sends this to itself."""

    number: int
    states: tuple[ShardState, ...]
    figures: tuple[Figures, ...]


class Told(Control, frozen=True):
    """The figures of another process, empty if it has not answered. A roster sends this to itself."""

    number: int
    host: str
    port: int
    figures: tuple[Figures, ...]


class Overdue(Control, frozen=True):
    """The deadline of a look has passed. A roster sends this to itself."""

    number: int


RosterMessage = GetShards | GetFigures | Own | Told | Overdue

Asking = Callable[[Place, bytes, float, Callable[[bytes | OSError], None]], None]
"""Asks another process for the figures of the stream named in the bytes, within seconds; the last argument takes the answer."""

_LONGEST_TEXT = 300

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Figures, ...]).decode


def figures_of(states: tuple[ShardState, ...], stats: Stats | Busy) -> tuple[Figures, ...]:
    """Return the figures of the shards that are here, by the stats of the gatherer."""
    by_shard = (stats.by_shard or {}) if isinstance(stats, Stats) else {}
    found: list[Figures] = []
    for each in states:
        if each.state in {"here", "catching up"} and each.epoch is not None:
            own = by_shard.get(each.shard)
            lag = None if own is None else sum(own.progress.lag.values())
            nbytes = None if own is None else sum(meta.nbytes for meta in (*own.aged, own.active))
            problems = () if own is None else _problems_of(own)
            state: Literal["here", "catching up"] = "here" if each.state == "here" else "catching up"
            found.append(Figures(each.shard, each.epoch, state, lag, nbytes, problems))
    return tuple(found)


def _problems_of(stats: Stats) -> tuple[str, ...]:
    """Return the present problems of a shard. Each ends by itself once what it is about goes well again."""
    trouble, durability = stats.progress.trouble, stats.durability
    reasons = {
        "no records can be read: ": None if trouble is None else "; ".join(trouble.reasons),
        "no checkpoint can be written: ": None if durability is None else durability.problem,
        "": None if durability is None else durability.copy_problem,
        "no results can be written: ": stats.output_problem,
    }
    return tuple(f"{what}{why}"[:_LONGEST_TEXT] for what, why in reasons.items() if why is not None)


def figures_bytes(figures: tuple[Figures, ...]) -> bytes:
    """Return figures as bytes: some 20 for each."""
    return _encode(figures)


def figures_from(data: bytes) -> tuple[Figures, ...]:
    """Return the figures in `data`. Raises msgspec.MsgspecError."""
    return _decode(data)
