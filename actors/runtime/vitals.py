"""The sizes of the mailboxes, by stream and class of actor. Messages pile up before a bottleneck.

Used by the guardian, on its own thread. This is safe because only single numbers are read. Senders do not count anything.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from actors.protocol import Lane
from actors.replies import ActorVitals
from actors.runtime.actor import Actor


def vitals_of(actors: Iterable[Actor[Any]]) -> tuple[ActorVitals, ...]:
    """Return one entry for each stream, class and state of actors, sorted by these.

    Cost: about 2 us an actor.
    """
    groups: dict[tuple[str, str, str], list[Actor[Any]]] = {}
    for actor in actors:
        groups.setdefault((actor.stream, type(actor).__name__, actor.state), []).append(actor)
    return tuple(_summed(*key, group) for key, group in sorted(groups.items()))


def _summed(stream: str, kind: str, state: str, actors: list[Actor[Any]]) -> ActorVitals:
    counted: Counter[str] = Counter()
    for actor in actors:
        counted.update(actor.counted)
    return ActorVitals(
        stream,
        kind,
        state,
        len(actors),
        control=sum(actor.mailbox.depth(Lane.CONTROL) for actor in actors),
        control_capacity=sum(actor.capacity[Lane.CONTROL] for actor in actors),
        data=sum(actor.mailbox.depth(Lane.DATA) for actor in actors),
        data_capacity=sum(actor.capacity[Lane.DATA] for actor in actors),
        held=sum(actor.mailbox.held for actor in actors),
        counted=counted,
    )
