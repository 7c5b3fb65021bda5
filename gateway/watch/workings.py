"""The metrics of actors: the fill of mailboxes, the actors' counters, and the guardian's state. Pure.

`Health` has one entry for each kind of actor and state, so labels are bounded whatever the number of actors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from actors.replies import ActorVitals, Health


@dataclass(frozen=True, slots=True)
class _Counted:
    """A counter of one kind of actor: its name, and its label's values by the names that the actor uses."""

    actor: str
    name: str
    help: str
    counts: Mapping[str, Sequence[str]]
    labels: tuple[str, ...] = ()


COUNTED: tuple[_Counted, ...] = (
    _Counted("Manager", "firnline_retired_generations", "Generations that became full.", {"retired": ()}),
    _Counted("Manager", "firnline_queries", "Queries answered.", {"answered": ()}),
    _Counted("Manager", "firnline_late_queries", "Queries whose answer lacks a late partial.", {"late": ()}),
    _Counted("Publisher", "firnline_published_results", "Results committed in every sink.", {"published": ()}),
    _Counted("Publisher", "firnline_published_records", "Published records, in all sinks together.", {"records": ()}),
    _Counted("Writer", "firnline_posted_records", "Records that clients have posted.", {"records": ()}),
    _Counted(
        "DeadLetterWriter",
        "firnline_dead_letter_records",
        "Records for the dead-letter topic, by state.",
        {"dead letters": ("written",), "delivered": ("delivered",), "lost": ("lost",)},
        ("state",),
    ),
    _Counted(
        "FrontEnd",
        "firnline_dead_letter_stalls",
        "Times that reading stopped because too many dead letters waited.",
        {"dead letter stalls": ()},
    ),
)


def of_actors(health: Health, streams: Sequence[str], *, sharded: bool = False) -> Iterator[Metric]:
    """Yield the metrics. If it is `sharded`, the stream of a shard's actor is followed by a dot and the shard."""
    of = ("stream", "shard") if sharded else ("stream",)
    mailbox = (*of, "actor", "state", "lane")

    def labels_of(vitals: ActorVitals) -> tuple[str, ...]:
        return vitals.stream.partition(".")[::2] if sharded else (vitals.stream,)

    for each in COUNTED:
        family = CounterMetricFamily(each.name, each.help, labels=(*of, *each.labels))
        for vitals in health.actors:
            if vitals.actor == each.actor:
                for name, labels in each.counts.items():
                    if name in vitals.counted:
                        family.add_metric((*labels_of(vitals), *labels), vitals.counted[name])
        yield family
    actors = GaugeMetricFamily("firnline_actors", "Actors, by kind and state.", labels=mailbox[:-1])
    held = GaugeMetricFamily("firnline_held_actors", "Actors that wait for a failure to be mended.", labels=mailbox[:-1])
    depth = GaugeMetricFamily("firnline_mailbox_messages", "Messages that wait.", labels=mailbox)
    room = GaugeMetricFamily("firnline_mailbox_capacity_messages", "Messages that may wait.", labels=mailbox)
    for vitals in health.actors:
        own = (*labels_of(vitals), vitals.actor, vitals.state)
        actors.add_metric(own, vitals.count)
        held.add_metric(own, vitals.held)
        for lane, waiting, capacity in _lanes(vitals):
            depth.add_metric((*own, lane), waiting)
            room.add_metric((*own, lane), capacity)
    yield from (actors, held, depth, room)
    busy = GaugeMetricFamily("firnline_thread_busy_seconds", "Time at the present task.", labels=("thread",))
    for thread, seconds in health.threads.items():
        busy.add_metric((thread,), seconds)
    yield busy
    restarts = CounterMetricFamily("firnline_restarts", "Restarts after a failure.", labels=("stream",))
    degraded = GaugeMetricFamily("firnline_degraded", "1 for a stream that was given up.", labels=("stream",))
    for name in streams:
        restarts.add_metric((name,), health.restarts.get(name, 0))
        degraded.add_metric((name,), name in health.degraded)
    yield from (restarts, degraded)
    yield CounterMetricFamily("firnline_dead_letters", "Messages between actors that came to nothing.", health.dead_letters)


def _lanes(vitals: ActorVitals) -> Sequence[tuple[str, int, int]]:
    return (
        ("control", vitals.control, vitals.control_capacity),
        ("data", vitals.data, vitals.data_capacity),
    )
