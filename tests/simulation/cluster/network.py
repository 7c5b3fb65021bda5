"""The network between the processes of a simulated cluster, and the side of it that answers. It implements `Peers`."""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from actors.cluster.gatherer import Told
from actors.cluster.messages import Ask, Part, Place
from actors.cluster.parcels import arguments_of, question_of, reply_bytes
from actors.protocol import Busy, delivered
from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import Faults

GRACE_S = 1.0
_OVER = 1.05
_QUICK_S, _SLOW_S = 0.002, 1.5


class Site(Protocol):
    """A process, as the network knows it."""

    number: int
    alive: bool
    gatherer: Any
    view: Any

    def awake(self) -> bool:
        """Whether it is alive and not frozen."""

    def may_ask(self, shard: int, epoch: int) -> bool:
        """Whether it may ask by a lease."""


class Agenda:
    """Work at set times, each for a process: it waits while the process is frozen, and is dropped once it has died."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._entries: list[tuple[float, int, Site | None, Callable[[], None]]] = []
        self._waiting: list[tuple[float, int, Site | None, Callable[[], None]]] = []

    def put(self, seconds: float, site: Site | None, work: Callable[[], None]) -> None:
        """Do `work` once some seconds have passed."""
        heapq.heappush(self._entries, (self._clock.now() + seconds, next(self._order), site, work))

    def wake(self) -> None:
        """Look again at the work of processes that were frozen."""
        for entry in self._waiting:
            heapq.heappush(self._entries, entry)
        self._waiting.clear()

    def due(self) -> float:
        """Return when the next work is due."""
        self._tidy()
        return self._entries[0][0] if self._entries else float("inf")

    def run(self) -> None:
        """Do the next work."""
        self._tidy()
        _, _, _, work = heapq.heappop(self._entries)
        work()

    def _tidy(self) -> None:
        while self._entries and (site := self._entries[0][2]) is not None and not site.awake():
            entry = heapq.heappop(self._entries)
            if site.alive:
                self._waiting.append(entry)


class Network:
    """Carries questions and probes between `sites`. `cuts` has the pairs between which nothing passes."""

    def __init__(self, agenda: Agenda, chance: random.Random, faults: Faults, name: str) -> None:
        self._agenda = agenda
        self._chance = chance
        self._faults = faults
        self._name = name
        self.sites: list[Any] = []
        self.cuts: set[tuple[int, int]] = set()

    def arrives(self, one: Site, other: Site) -> bool:
        """Whether a packet arrives."""
        return (one.number, other.number) not in self.cuts and not self._faults.strikes("lost")

    def delay(self) -> float:
        """Return the seconds that a packet takes."""
        return self._chance.uniform(0.0, _SLOW_S if self._faults.strikes("delayed") else _QUICK_S)

    def answer(self, site: Site, bodies: Sequence[bytes], send: Callable[[list[bytes]], None]) -> None:
        """Have a process answer questions, as its gateway does."""
        asked = [(question, arguments_of(question, self._name)) for question in map(question_of, bodies)]
        replied: dict[int, Part | Busy] = {}

        def reply_to(number: int, part: Part | Busy) -> None:
            if number not in replied:
                replied[number] = part
                if len(replied) == len(bodies):
                    send(reply_bytes(self._name, site.view, asked, [replied[each] for each in range(len(bodies))]))

        for number, (question, arguments) in enumerate(asked):
            reply = partial(reply_to, number)
            message = Ask(question.shard, question.epoch, question.span, arguments, question.deadline_s, reply)
            if not delivered(site.gatherer, message):
                reply(Busy("the stream is shutting down"))
            self._agenda.put(_OVER * question.deadline_s, site, partial(reply, Busy("no reply in time")))

    def put(self, seconds: float, site: Site, work: Callable[[], None]) -> None:
        """Do `work` in a process later."""
        self._agenda.put(seconds, site, work)


class SimulatedPeers:
    """The requests of one process. Each gets one reply, whatever the network does."""

    def __init__(self, site: Site, network: Network) -> None:
        self._site = site
        self._network = network
        self.under_way = 0

    def ask(self, place: Place, bodies: Sequence[bytes], timeout_s: float, done: Callable[[Told], None]) -> None:
        for question in map(question_of, bodies):
            assert self._site.may_ask(question.shard, question.epoch), f"asked by the old lease {question.epoch}"
        network, site = self._network, self._site
        finish = self._once(done)
        network.put(timeout_s, site, lambda: finish(TimeoutError("no answer in time")))

        def back(answer: list[bytes]) -> None:
            if network.arrives(other, site):
                network.put(network.delay(), site, lambda: finish(answer))

        other = self._other(place, finish)
        if other is not None:
            for _ in range(2 if network._faults.strikes("doubled") else 1):
                if network.arrives(site, other):
                    network.put(network.delay(), other, lambda: network.answer(other, bodies, back))

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        network, site = self._network, self._site
        finish = self._once(lambda reply: done(not isinstance(reply, OSError)))
        network.put(timeout_s, site, lambda: finish(TimeoutError("no answer in time")))

        def there() -> None:
            if network.arrives(other, site):
                network.put(network.delay(), site, lambda: finish(b""))

        other = self._other(place, finish)
        if other is not None and network.arrives(site, other):
            network.put(network.delay(), other, there)

    def _other(self, place: Place, finish: Callable[[Any], None]) -> Any:
        """Return the process at a place. Without one, and now and then with one, the connection is refused."""
        network = self._network
        other = network.sites[place.port]
        if not other.alive or network._faults.strikes("refused"):
            if (self._site.number, other.number) not in network.cuts:
                network.put(network.delay(), self._site, lambda: finish(ConnectionRefusedError("refused")))
            return None
        return other

    def _once(self, done: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a function that passes the first reply on."""
        self.under_way += 1
        open_ = [done]

        def finish(reply: Any) -> None:
            if open_:
                self.under_way -= 1
                open_.pop()(reply)

        return finish
