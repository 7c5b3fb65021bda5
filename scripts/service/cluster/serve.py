"""One run of a process of a cluster: the gateway over gatherers, and the leases that start and stop shards."""

import contextlib
import os
import signal
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Never

from actors.cluster.figures import RosterMessage
from actors.cluster.gatherer import Gatherer
from actors.cluster.issuing import Issuer
from actors.cluster.messages import GathererMessage, IssuerMessage
from actors.cluster.roster import Roster
from actors.cluster.warden import Warden, named
from actors.messages import Recover, WriterMessage
from actors.protocol import Address
from actors.runtime.actor import System, start
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.sinks.writer import Writer
from actors.stream import Callbacks
from config.cluster import Cluster
from config.settings import Settings
from config.streams import Stream
from gateway.app import create_app
from gateway.ask import Asker
from gateway.cluster.door import Door, Shared
from gateway.cluster.member import MemberRoutes
from gateway.cluster.peers import HttpPeers
from gateway.stream import Served
from gateway.watch.traces import Traces
from gateway.watch.traffic import Counted, Traffic
from gateway.wire.guard import Guard
from gateway.wire.limits import Allowance
from gateway.wire.server import files_for, server
from scripts.service.cluster.group import Grant, Group, ensure_leases
from scripts.service.cluster.lease import Leases
from scripts.service.cluster.records import Announced
from scripts.service.cluster.results import Results
from scripts.service.cluster.secret import secret_of
from scripts.service.cluster.shards import LocalShards
from scripts.service.ending import Hangup, Stopping, stop
from scripts.service.in_force import limits_of
from scripts.service.keeping import digest_of
from scripts.service.letters.of_stream import StreamLetters
from scripts.service.logs import log
from scripts.service.memory import budget_of
from scripts.service.parts import writer
from scripts.service.plan import view_of
from scripts.service.run import Progress, url_of

if TYPE_CHECKING:
    from actors.cluster.shelves.messages import LibrarianMessage
    from scripts.service.cluster.generations.parts import Generations

_LEAVE_S = 30.0
_LEARN_S = 5.0


@dataclass(slots=True)
class _Standing:
    """What the actors ask about the leases, which begin after them. Until then this process has none."""

    leases: Leases | None = None

    def doubtful(self) -> bool:
        """See `Leases`."""
        return self.leases is None or self.leases.doubtful()

    def grant(self) -> Grant | None:
        """See `Leases`."""
        return None if self.leases is None else self.leases.grant()

    def claim(self, shard: int) -> Any:
        """See `Leases`."""
        return None if self.leases is None else self.leases.claim(shard)


def serve(
    settings: Settings,
    cluster: Cluster,
    kafka: dict[str, Any],
    port: socket.socket,
    *,
    greet: Callable[[str], None],
    traces: Traces | None,
) -> Progress:
    """Run until a signal comes; then give the shards back. Returns what the streams reported.

    `greet` gets the URL once the port answers. Raises ValueError if a setting cannot be applied, and OSError if the broker does
    not answer. Called on the main thread.
    """
    secret = secret_of(cluster.secret, os.environ)
    group = Group(f"firnline-{cluster.name}-leases", cluster.shards, cluster.session_ms, cluster.member)
    stopping, hangup = Stopping(), Hangup(lambda: signal.raise_signal(signal.SIGTERM))
    ensure_leases(kafka, group)
    budget = budget_of(settings)
    allowance = Allowance(limits_of(settings.http, budget.replies))
    system = System(Dispatcher(), trace=traces.span if traces is not None else contextlib.nullcontext)
    progress = Progress(settings, kafka, once=False)
    guardian = start(Guardian, system, log=progress.on_failure)
    me = Announced(0, uuid.uuid4().hex[:12], cluster.address or settings.http.host, port.getsockname()[1], os.getpid())
    peers = HttpPeers(secret, budget.total)
    gatherers: dict[str, Address[GathererMessage | Recover]] = {}
    writers: dict[str, Address[WriterMessage | Recover]] = {}
    streams: list[Served] = []
    shared: dict[str, Shared] = {}
    standing = _Standing()

    for name, stanza in settings.streams.items():
        view = view_of(stanza, None)
        gatherers[name] = gatherer = start(
            Gatherer,
            system,
            stream=name,
            name=stanza.view,
            view=view,
            shards=cluster.shards,
            peers=peers,
            doubtful=standing.doubtful,
            budget_bytes=budget.total,
        )
        roster = start(
            Roster, system, stream=name, gatherer=gatherer, ask=peers.figures, host=me.host, port=me.port, pid=me.pid
        )
        shared[name] = Shared(stanza.view, view, gatherer, roster)
        if stanza.writable:
            client = start(Writer, system, stream=name, connect=partial(writer, stanza.source, kafka))
            writers[name] = client
        streams.append(_served(name, stanza, _front(system, name, stanza, cluster, gatherer), roster, writers.get(name), kafka))
    issuers = [
        _issuer(system, name, shared[name], _results(name, stanza, kafka, group, standing.grant), progress)
        for name, stanza in settings.streams.items()
        if stanza.output.topic is not None
    ]
    shards = LocalShards(
        system,
        settings,
        cluster,
        kafka,
        budget,
        me,
        gatherers=gatherers,
        complain=progress.complain,
        callbacks=_of_shards(progress.callbacks()),
        log=log.info,
        claim=standing.claim,
        copies=_copies_of(kafka, cluster, group, secret, standing.claim),
        shelved=_shelved_of(settings, kafka, cluster, group, secret, standing.claim),
    )
    leases = standing.leases = _informed(
        Leases(kafka, group, me, secret, shards, log.info, progress.end_because, progress.fail)
    )
    traffic = Traffic()
    warden = start(Warden, system, guardian=guardian)
    app = create_app(
        streams,
        warden,
        allowance,
        traffic=traffic,
        trace=system.trace,
        more=[MemberRoutes(leases, cluster.name, cluster.member, cluster.shards)],
    )
    guarded = Door(Guard(app, allowance, settings.http.host), Asker(allowance, system.trace), shared, secret)
    counted = Counted(guarded, traffic, log.debug)
    gateway = server(traces.around(counted) if traces is not None else counted, allowance)
    traffic.connections = gateway.connections
    gateway.at_start.append(app.state.histories.start)
    gateway.at_end += (app.state.ticker.close, app.state.histories.close)
    progress.attach(gateway)
    if few := files_for(settings.http.max_connections):
        log.warning("few connections", reason=few)
    gateway.at_start.append(leases.start)
    greet(url_of(port))
    hangup.attach(lambda: log.warning("not reloaded", reason="a process of a cluster takes new settings at a restart"))
    stopping.attach(gateway)
    gateway.run(sockets=[port])
    leases.stop(_LEAVE_S)
    addresses: tuple[Address[Never], ...] = (
        *issuers,
        *(each.roster for each in shared.values()),
        *(each.manager for each in streams if each.manager is not gatherers[each.name]),
        *gatherers.values(),
        *writers.values(),
        warden,
    )
    for address in addresses:
        address.stop()
    peers.close()
    stop(system, {}, guardian, log)
    return progress


def _informed(leases: Leases) -> Leases:
    """Have the first questions go to where the shards are."""
    leases.learn(_LEARN_S)
    return leases


def _copies_of(
    kafka: dict[str, Any], cluster: Cluster, group: Group, secret: bytes, claim: Callable[[int], Any]
) -> Callable[[int, int], Any] | None:
    """Return a function that makes the copies of a shard in the checkpoint topic, by its epoch; None without such a topic."""
    if cluster.checkpoints != "topic":
        return None
    from scripts.service.cluster.checkpoints.copies import ShardCopies, Topic  # noqa: PLC0415  # only if they are wanted
    from scripts.service.cluster.checkpoints.topic import ensure_checkpoints, topic_of  # noqa: PLC0415

    name = topic_of(cluster.name)
    topic = Topic(name, group.topic, ensure_checkpoints(kafka, name, cluster.shards), secret)
    return lambda shard, epoch: ShardCopies(kafka, topic, shard, epoch, partial(claim, shard), log.info)


def _has_shelves(stanza: Stream, cluster: Cluster) -> bool:
    """Whether one shard matches all events of a stream, and there are others for its older generations."""
    return stanza.matches_alone and cluster.shards > 1


def _shelved_of(
    settings: Settings,
    kafka: dict[str, Any],
    cluster: Cluster,
    group: Group,
    secret: bytes,
    claim: Callable[[int], Any],
) -> "dict[str, Generations]":
    """Return the topics of generations by stream, which are created if they are absent."""
    names = [name for name, stanza in settings.streams.items() if _has_shelves(stanza, cluster)]
    if not names:
        return {}
    from scripts.service.cluster.checkpoints.copies import Topic  # noqa: PLC0415  # only if they are wanted
    from scripts.service.cluster.generations.parts import Generations  # noqa: PLC0415
    from scripts.service.cluster.generations.topic import ensure_generations, topic_of  # noqa: PLC0415

    found = {}
    for name in names:
        topic = topic_of(cluster.name, name)
        piece_bytes = ensure_generations(kafka, topic, cluster.shards, cluster.generations_ms)
        found[name] = Generations(
            kafka,
            Topic(topic, group.topic, piece_bytes, secret),
            name,
            settings.streams[name].view,
            cluster.shards,
            partial(claim, 0),
            log.info,
        )
    return found


def _front(
    system: System, name: str, stanza: Stream, cluster: Cluster, gatherer: Address[GathererMessage | Recover]
) -> "Address[GathererMessage | Recover] | Address[LibrarianMessage | Recover]":
    """Return the actor that clients of a stream ask: the gatherer, or one before it that asks shelves too."""
    if not _has_shelves(stanza, cluster):
        return gatherer
    from actors.cluster.shelves.librarian import Librarian  # noqa: PLC0415  # only if it is wanted

    return start(Librarian, system, stream=name, name=stanza.view, shards=cluster.shards, gatherer=gatherer)


def _served(
    name: str,
    stanza: Stream,
    gatherer: "Address[GathererMessage | Recover] | Address[LibrarianMessage | Recover]",
    roster: Address[RosterMessage | Recover],
    client: Address[WriterMessage | Recover] | None,
    kafka: dict[str, Any],
) -> Served:
    """Return a stream as the gateway needs it."""
    return Served(
        name,
        stanza.view,
        gatherer,
        writer=client,
        shards=roster,
        steps=stanza.step_names,
        granularities=stanza.period_names,
        unit_of=partial(str, stanza.axis),
        source=str(stanza.source),
        letters=StreamLetters(kafka, stanza.dead_letters) if stanza.dead_letters is not None else None,
    )


def _issuer(system: System, name: str, shared: Shared, outlet: Results, progress: Progress) -> Address[IssuerMessage | Recover]:
    """Start the actor that publishes the results of a stream while this process may."""
    return start(
        Issuer,
        system,
        stream=name,
        name=shared.name,
        view=shared.view,
        gatherer=shared.gatherer,
        outlet=outlet,
        on_trouble=partial(progress.callbacks().trouble, name),
    )


def _results(name: str, stanza: Stream, kafka: dict[str, Any], group: Group, grant: Callable[[], Grant | None]) -> Results:
    """Return where the results of a stream go. If the meaning of its rows changes, all of them are published anew."""
    above = group.topic.removesuffix("-leases")
    return Results(
        kafka,
        grant,
        leases=group.topic,
        session_ms=group.session_ms,
        owner=f"{group.topic}-results-{name}",
        book=f"{above}-results-{name}",
        output=str(stanza.output.topic),
        key=stanza.output.key,
        meaning=digest_of(stanza),
    )


def _of_shards(callbacks: Callbacks) -> Callbacks:
    """Return the callbacks of the shards' streams, whose names end with a dot and the shard."""

    def shard(stream: str) -> str:
        return f"shard {stream.rpartition('.')[2]}"

    return Callbacks(
        wait=lambda stream, reason, advice: callbacks.wait(named(stream), reason, advice),
        end=lambda stream: callbacks.end(named(stream)),
        trouble=lambda stream, problem: callbacks.trouble(named(stream), f"{shard(stream)}: {problem}"),
        superseded=lambda stream, reason: callbacks.superseded(named(stream), f"{shard(stream)}: {reason}"),
    )
