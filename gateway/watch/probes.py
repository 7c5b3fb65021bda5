"""The probes of an orchestrator: whether the process is alive, has started, and is ready.

`/livez` fails only if a restart would help: a thread works on one task for minutes. A thread that waits for a disk
or a broker is not stuck, because a restart repairs neither. `/startupz` fails until every stream has read its checkpoint once.
`/readyz` fails while a stream reads its checkpoint, is given up, or stands before a damaged batch. A stream whose brokers are
away is ready, because its answers stay right; the probe shows how old they are. The probes have their own asker, so queries
cannot block them.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.protocol import WAITING_HOMES, Address
from actors.replies import NEXT, GetHealth, GetStats, Health, Stats
from gateway.api.errors import Problem
from gateway.api.operation import Endpoint, Operation
from gateway.ask import Asker
from gateway.schemas import Answer
from gateway.stream import Served
from gateway.wire.limits import NOTHING, Allowance

STUCK_S = 120.0
"""A thread that works on one task for longer is stuck. No answer may take that long."""

_WAITING = tuple(home.of("") for home in WAITING_HOMES)

_PATIENCE_S = 5.0
_QUICK_S = 0.5
"""How long `/livez` waits for the guardian. Orchestrators often wait one second for the probe."""

_AT_ONCE = 64

_Meta = msgspec.Meta


class Liveness(Answer, frozen=True, omit_defaults=True):
    """Whether the process lives."""

    live: bool
    stuck: Annotated[
        dict[str, float] | msgspec.UnsetType, _Meta(description="Seconds that each stuck thread has spent on its task.")
    ] = msgspec.UNSET


class Readiness(Answer, frozen=True, omit_defaults=True):
    """The progress of one stream. While `lag` is above 0, the stream catches up, and coverage gives the limits of answers."""

    ready: bool
    state: Annotated[str, _Meta(description="What the stream does, or its problem.")]
    reasons: Annotated[
        list[str] | msgspec.UnsetType, _Meta(description="Why it is not ready, or why no records can be read.")
    ] = msgspec.UNSET
    next: Annotated[str | msgspec.UnsetType, _Meta(description="What to do if no records can be read.")] = msgspec.UNSET
    since: Annotated[float | msgspec.UnsetType, _Meta(description="Since when no records can be read: seconds since 1970.")] = (
        msgspec.UNSET
    )
    stale: Annotated[
        float | msgspec.UnsetType | None,
        _Meta(description="While no records can be read: seconds since the newest record was read; null: there was none."),
    ] = msgspec.UNSET
    lag: Annotated[int | msgspec.UnsetType, _Meta(description="Records that are not read yet.")] = msgspec.UNSET
    checkpoint: Annotated[int | msgspec.UnsetType, _Meta(description="The newest checkpoint; 0: none.")] = msgspec.UNSET
    generations_read: Annotated[
        list[int] | msgspec.UnsetType | None, _Meta(description="Generations read, and generations in all.")
    ] = msgspec.UNSET
    unread: Annotated[list[str] | msgspec.UnsetType, _Meta(description="Files that could not be read.")] = msgspec.UNSET
    checkpoint_problem: Annotated[str | msgspec.UnsetType | None, _Meta(description="Why writing failed.")] = msgspec.UNSET
    copy_problem: Annotated[
        str | msgspec.UnsetType, _Meta(description="Why the newest checkpoint is not in the checkpoint topic of a cluster.")
    ] = msgspec.UNSET
    output_problem: Annotated[str | msgspec.UnsetType, _Meta(description="Why results wait to be written.")] = msgspec.UNSET
    results_in_doubt: Annotated[
        str | msgspec.UnsetType, _Meta(description="Which results may have come twice, or may be missing.")
    ] = msgspec.UNSET


class Ready(Answer, frozen=True):
    """Whether every stream can answer, and the progress of each."""

    ready: bool
    degraded: Annotated[dict[str, str], _Meta(description="Streams that were given up, and why.")]
    streams: dict[str, Readiness]


class Started(Answer, frozen=True):
    """Whether every stream has read its checkpoint once."""

    started: bool
    reasons: Annotated[dict[str, str], _Meta(description="Streams that have not read it yet, and what they do.")]


class Probes:
    """The three endpoints, over `streams` and the `guardian`. A thread that works on one task for `stuck_s` is stuck."""

    def __init__(self, guardian: Address[GetHealth], streams: Sequence[Served], *, stuck_s: float = STUCK_S) -> None:
        self._asker = Asker(Allowance(replace(NOTHING, deadline_s=_PATIENCE_S, max_queries=_AT_ONCE)))
        self._stuck_s = stuck_s
        self._guardian = guardian
        self._streams = list(streams)
        self._unanswered_since: float | None = None
        self._starting = {stream.name for stream in streams}

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        table: tuple[tuple[str, Endpoint, type[Answer], str], ...] = (
            ("/livez", self.livez, Liveness, "a thread is stuck"),
            ("/readyz", self.readyz, Ready, "not so, with the reasons"),
            ("/startupz", self.startupz, Started, "not so, with the reasons"),
        )
        return [
            Operation(
                method="GET",
                path=path,
                endpoint=endpoint,
                tag="service",
                scope="open",
                answer=answer,
                statuses={503: when},
                bodies={503: answer},
            )
            for path, endpoint, answer, when in table
        ]

    async def livez(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Check whether the process makes progress.

        The response is 503 if a thread has been at one task for two minutes, except for threads that wait for a disk or a
        broker: then only a restart helps. The probe is cheap, and queries cannot delay it.
        """
        now = time.monotonic()
        health = await self._health(_QUICK_S)
        if health is not None:
            self._unanswered_since = None
            stuck = {
                thread: round(seconds, 1)
                for thread, seconds in health.threads.items()
                if seconds > self._stuck_s and not thread.endswith(_WAITING)
            }
        else:
            since = self._unanswered_since = self._unanswered_since or now
            stuck = {"control": round(now - since, 1)} if now - since > self._stuck_s else {}
        return _json(Liveness(not stuck, stuck or msgspec.UNSET), ok=not stuck)

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        """Check whether every stream has read its checkpoint, and none was given up; else 503 with the reasons.

        The response has the progress of each stream. While `lag` is above 0, the stream catches up, and coverage gives the
        limits of its answers.
        """
        health, streams = await asyncio.gather(self._health(), self._readiness())
        degraded = dict(health.degraded) if health is not None else {}
        for name, reason in degraded.items():
            streams[name] = msgspec.structs.replace(streams[name], ready=False, reasons=[f"given up: {reason}"])
        ready = health is not None and all(each.ready for each in streams.values())
        return _json(Ready(ready, degraded, streams), ok=ready)

    async def startupz(self, request: Request) -> Response:  # noqa: ARG002
        """Check whether every stream has read its checkpoint once; else 503 with the state of each stream.

        A stream that goes back to a checkpoint later still counts as started.
        """
        streams = await self._readiness() if self._starting else {}
        self._starting -= {name for name, each in streams.items() if each.ready}
        reasons = {name: each.state for name, each in streams.items() if name in self._starting}
        return _json(Started(not reasons, reasons), ok=not reasons)

    async def _readiness(self) -> dict[str, Readiness]:
        """Ask all streams at once."""
        replies = await asyncio.gather(*(self._ready(stream) for stream in self._streams))
        return {stream.name: each for stream, each in zip(self._streams, replies, strict=True)}

    async def _ready(self, stream: Served) -> Readiness:
        try:
            stats: Stats = await self._asker.ask(stream.manager, GetStats)
        except Problem as problem:
            return Readiness(ready=False, state=f"no answer: {problem.got}", reasons=["no answer in time"])
        durability, progress = stats.durability, stats.progress
        state = "reading its checkpoint" if stats.starting else progress.state
        refused = durability.refused if durability is not None else None
        why = [each for each in (state, refused or stats.output_problem) if each is not None]
        reasons = why if stats.starting else msgspec.UNSET
        readiness = Readiness(not stats.starting, state, reasons, lag=sum(progress.lag.values()))
        if (trouble := progress.trouble) is not None:
            newest = progress.last_record_at
            readiness = msgspec.structs.replace(
                readiness,
                ready=readiness.ready and trouble.state != "damaged",
                reasons=[*([state] if stats.starting else []), *trouble.reasons],
                next=NEXT[trouble.state],
                since=trouble.since,
                stale=None if newest is None else round(max(0.0, time.time() - newest), 3),
            )
        if stats.output_problem is not None:
            readiness = msgspec.structs.replace(readiness, output_problem=stats.output_problem)
        if durability is None:
            return readiness
        return msgspec.structs.replace(
            readiness,
            checkpoint=durability.checkpoint or durability.recovered_from,
            generations_read=list(durability.loading) if durability.loading is not None else None,
            unread=list(durability.lost),
            checkpoint_problem=durability.problem,
            copy_problem=durability.copy_problem or msgspec.UNSET,
            results_in_doubt=durability.doubt or msgspec.UNSET,
        )

    async def _health(self, patience_s: float = _PATIENCE_S) -> Health | None:
        try:
            health: Health = await asyncio.wait_for(self._asker.ask(self._guardian, GetHealth), patience_s)
        except (Problem, TimeoutError):
            return None
        return health


def _json(body: Answer, *, ok: bool) -> Response:
    return Response(msgspec.json.encode(body), 200 if ok else 503, media_type="application/json")
