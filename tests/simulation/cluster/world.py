"""A world of a seed: processes of one cluster, the network between them, clients, and faults. Its laws hold at each answer and at rest.

`python -m tests.simulation.cluster.world SEED` runs a seed and prints the identity of its trace, even if a law is broken.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from msgspec import structs

from actors.columns.times import INT64_MAX
from actors.protocol import Busy, delivered
from actors.replies import Answer, GetStats, Query, Stats
from actors.timeline.span import EVER
from gateway.api.formats import write
from tests.simulation.clock import SimulatedClock
from tests.simulation.cluster.group import Coordinator
from tests.simulation.cluster.network import GRACE_S, Agenda, Network
from tests.simulation.cluster.node import STREAM, Node, Surroundings
from tests.simulation.cluster.results import ResultTopics, judge_rows
from tests.simulation.faults import BrokenError, CrashError, Faults
from tests.simulation.scenario import LATEST_MS, NEVER, Scenario, scenario
from tests.simulation.topic import Partition, Record, SimulatedTopic
from tests.simulation.trace import Trace

VIEWS = ("words", "uniques", "top", "funnel", "words")
_REST_S = 40.0
_SPARE_S = 0.3
_MOST_STEPS = 400_000
_AFTER_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    plan: Scenario
    identity: str
    steps: int
    answers: int
    partial: int
    struck: dict[str, int]


@dataclass(eq=False)
class _Asked:
    """A question of a client."""

    node: Node
    question: tuple[Any, Any]
    at: float
    frozen_s: float
    deadline_s: float
    known: dict[int, int]
    """The leases that the process knew then."""

    answered: bool = False


class ClusterWorld:
    """A run of `seed`, with processes that come, freeze, are cut off and die; if it is `orderly`, they are drained by turns."""

    def __init__(self, seed: int, *, view: str | None = None, orderly: bool = False) -> None:
        self.seed = seed
        self._orderly = orderly
        self._whole: set[int] = set()
        """The processes that have given a whole answer."""
        chance = random.Random(f"{seed} cluster")
        self._shards = chance.choice([3, 3, 5])
        self.plan = _plan(seed, view or VIEWS[seed % len(VIEWS)], chance)
        if orderly:
            self.plan = replace(self.plan, rates=dict.fromkeys(self.plan.rates, 0.0))
        session_s = chance.choice([0.6, 1.0])
        self._deadline_s = chance.choice([2.0, 5.0])
        self.trace = Trace()
        self.clock = SimulatedClock()
        self._chance = random.Random(f"{seed} cluster run")
        self.faults = Faults(random.Random(f"{seed} cluster faults"), self.plan.rates, self.trace)
        self._agenda = Agenda(self.clock)
        self._network = Network(self._agenda, self._chance, self.faults, self.plan.view)
        self._around = Surroundings(
            plan=self.plan,
            shards=self._shards,
            session_s=session_s,
            clock=self.clock,
            chance=self._chance,
            faults=self.faults,
            trace=self.trace,
            coordinator=Coordinator(self.clock, self._shards, session_s),
            network=self._network,
            agenda=self._agenda,
            folders={},
            results=ResultTopics(self.clock, session_s),
            step=self._step,
        )
        self._named = chance.random() < 0.4
        self._nodes: list[Node] = []
        self._asked: list[_Asked] = []
        self._rendered: dict[Any, bytes] = {}
        self._answers = self._partial = self._counted = 0
        self._coming = 0
        """Processes that are about to start."""
        for number in range(chance.choice([2, 3, 3, 4])):
            self._start(f"member-{number}" if self._named else None)
        self._until = max(self.plan.topic.complete_at, self.clock.now()) + _AFTER_S
        if orderly:
            self._plan_turns()
            return
        self._plan_faults(chance)
        if self.plan.view == "uniques":
            self._plan_strikes(random.Random(f"{seed} cluster results"))

    def run(self) -> Outcome:
        """Run to the end. Raises AssertionError if a law is broken."""
        try:
            self._agenda.put(0.1, None, self._look)
            self._agenda.put(0.2, None, self._ask)
            while self.clock.now() < self._until:
                self._step()
            self.faults.on = False
            self._network.cuts.clear()
            self._rest()
            self._judge()
            self._judge_results()
        except BrokenError as error:
            assert error.__cause__ is not None, "it has a reason"
            raise error.__cause__ from None
        finally:
            for node in self._living():
                node.kill()
        struck = dict(self.faults.struck)
        return Outcome(self.plan, self.trace.identity, self.trace.step, self._answers, self._partial, struck)

    def traced(self) -> str:
        """Run, and return the identity of the trace, even if a law is broken."""
        with suppress(AssertionError):
            self.run()
        return self.trace.identity

    # The world -------------------------------------------------------------------------------------------------------

    def _living(self) -> list[Node]:
        return [node for node in self._nodes if node.alive]

    def _start(self, name: str | None) -> Node:
        node = Node(self._around, len(self._nodes), name)
        self._nodes.append(node)
        return node

    def _step(self) -> None:
        """Run one task of one process, or one thing that is due; else let time pass until there is one."""
        assert self.trace.step < _MOST_STEPS, "the run does not end"
        now = self.clock.now()
        awake = [node for node in self._nodes if node.awake()]
        ready: list[Node | None] = [node for node in awake if node.dispatcher.ready()]
        fibres = [node for node in awake if not node.fibre.ended and node.fibre.due <= now]
        count = len(ready) + len(fibres) + (self._agenda.due() <= now)
        if not count:
            times = [self._agenda.due()]
            for node in self._living():
                due = node.dispatcher.due if node.fibre.ended else min(node.dispatcher.due, node.fibre.due)
                times.append(max(due, node.frozen_until))
            self.clock.advance(max(0.0, min(times) - now) + 1e-9)
            return
        place = self._chance.randrange(count)
        if place < len(ready):
            self._run(ready[place], actors=True)
        elif place < len(ready) + len(fibres):
            self._run(fibres[place - len(ready)], actors=False)
        else:
            self._agenda.run()

    def _run(self, node: Any, *, actors: bool) -> None:
        try:
            if actors:
                node.dispatcher.step()
            else:
                node.fibre.resume()
                if node.fibre.ended:
                    self._ended(node)
        except CrashError:
            self._kill(node)

    def _ended(self, node: Node) -> None:
        """End a process whose leases have ended: it has left, or another process has its name."""
        assert node.failure is None, node.failure
        node.kill()
        if self.faults.on:
            self._coming += 1
            self._agenda.put(self._chance.uniform(0.0, 2.0), None, lambda: self._replace(node))
        else:
            self._coming += 1
            self._replace(node)

    def _kill(self, node: Node) -> None:
        if node.alive:
            node.kill()
            self._coming += 1
            self._agenda.put(self._chance.uniform(0.0, 3.0), None, lambda: self._replace(node))

    def _replace(self, node: Node) -> None:
        """Start another process in the place of one that has ended, unless that was done."""
        self._coming -= 1
        if node.name is None or not any(each.name == node.name for each in self._living()):
            self._start(node.name)

    def _look(self) -> None:
        """Let the coordinator look at its members."""
        if self.clock.now() >= self._around.away_until:
            self._around.coordinator.look()
            self._around.results.look()
        self._agenda.put(0.1, None, self._look)

    # Faults ----------------------------------------------------------------------------------------------------------

    def _plan_faults(self, chance: random.Random) -> None:
        count = chance.choice([0, 0, 1, 2, 4, 8])
        self._until += 1.5 * count
        for _ in range(count):
            kind = chance.choice(
                [
                    self._freeze,
                    self._freeze,
                    self._crash,
                    self._crash,
                    self._leave,
                    self._join,
                    self._cut,
                    self._away,
                    self._part,
                    self._drain,
                ]
            )
            self._agenda.put(chance.uniform(0.5, self._until - self.clock.now() - 1.0), None, kind)

    def _plan_turns(self) -> None:
        """Have each process give its shards back, and take some again, one after the other."""
        for at, node in enumerate(self._nodes):
            self._agenda.put(4.0 + 4.0 * at, None, partial(self._drain, node, 2.0))
        self._until = max(self._until, self.clock.now() + 4.0 * len(self._nodes) + 6.0)

    def _plan_strikes(self, chance: random.Random) -> None:
        """Have the process that publishes die, freeze or lose its shards, some of these times while it writes."""
        for _ in range(chance.choice([0, 1, 3])):
            self._until += 3.0
            kind = chance.choice([self._kill, self._freeze, self._drain])
            self._agenda.put(
                self._until - self.clock.now() - chance.uniform(0.5, 4.0), None, lambda kind=kind: self._strike(kind)
            )

    def _strike(self, kind: Callable[[Node], None]) -> None:
        """Let something happen to the process that may publish, if there is one."""
        for node in self._living():
            if node.leases is not None and node.leases.grant() is not None:
                kind(node)
                return

    def _one(self) -> Node:
        return self._chance.choice(self._living() or [self._start(None)])

    def _freeze(self, node: Node | None = None) -> None:
        node = node or self._one()
        if not node.awake():
            return
        seconds = self._chance.choice([0.3, 1.0, 3.0]) * self._around.session_s
        node.freeze(seconds)
        if node.name is not None and self._chance.random() < 0.3:
            self._start(node.name)  # the launcher takes it for dead

    def _crash(self) -> None:
        self._kill(self._one())

    def _leave(self) -> None:
        self._one().leave()

    def _join(self) -> None:
        if len(self._living()) < 5:
            self._start(f"member-{len(self._nodes)}" if self._named else None)

    def _drain(self, node: Node | None = None, seconds: float | None = None) -> None:
        """Have a process take no shards for a while."""
        leases = (node or self._one()).leases
        leases.drain()
        self._agenda.put(seconds or self._chance.uniform(0.5, 3.0), None, leases.resume)

    def _cut(self) -> None:
        self._one().cut_until = self.clock.now() + self._chance.choice([0.5, 2.0, 4.0]) * self._around.session_s

    def _away(self) -> None:
        self._around.away_until = self.clock.now() + self._chance.choice([0.5, 2.0, 4.0])
        self._agenda.put(self._around.away_until - self.clock.now(), None, self._around.coordinator.pardon)

    def _part(self) -> None:
        """Let nothing pass between two processes for a while, in one direction or in both."""
        one, other = self._one().number, self._one().number
        pairs = {(one, other), (other, one)} if self._chance.random() < 0.5 else {(one, other)}
        self._network.cuts |= pairs
        self._agenda.put(self._chance.uniform(0.5, 5.0), None, lambda: self._network.cuts.difference_update(pairs))

    # Clients ---------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Send a question to a process, and now and then ask for its statistics."""
        if self.faults.on:
            self._agenda.put(self._chance.uniform(0.0, 0.4), None, self._ask)
        awake = [node for node in self._nodes if node.awake()]
        if not awake:
            return
        node = self._chance.choice(awake)
        if self._chance.random() < 0.2:
            self._count(node)
        question = self._chance.choice(self.plan.feed.questions)
        short_s = self._deadline_s if self._orderly else 0.3
        deadline_s = self._chance.choice([short_s, self._deadline_s, self._deadline_s, self._deadline_s])
        asked = _Asked(node, question, self.clock.now(), node.frozen_s, deadline_s, dict(node.known))
        self._asked.append(asked)
        query = Query(*question, deadline_s, lambda reply: self._receive(asked, reply))
        if not delivered(node.gatherer, query):
            asked.answered = True

    def _count(self, node: Node) -> None:
        asked = _Asked(node, (None, None), self.clock.now(), node.frozen_s, self._deadline_s, {})
        self._asked.append(asked)

        def receive(reply: Stats | Busy) -> None:
            asked.answered = True
            self._in_time(asked)
            self._counted += 1

        if not delivered(node.gatherer, GetStats(receive)):
            asked.answered = True

    def _receive(self, asked: _Asked, reply: Answer | Busy) -> None:
        """Note an answer. It is judged after the step: in the actor that replied, a failed assertion would be its failure."""
        assert not asked.answered, "a second reply"
        asked.answered = True
        now = self.clock.now()
        self._agenda.put(0.0, None, lambda: self._judge_answer(asked, reply, now))

    def _in_time(self, asked: _Asked) -> None:
        if not self.plan.rates["starve"]:
            took = self.clock.now() - asked.at - (asked.node.frozen_s - asked.frozen_s)
            assert took < asked.deadline_s + GRACE_S, f"{asked.question} took {took} s of {asked.deadline_s}"

    # The laws --------------------------------------------------------------------------------------------------------

    def _judge_answer(self, asked: _Asked, answer: Answer | Busy, now: float) -> None:
        """Assert that an answer claims nothing false, and names the shards that it lacks."""
        if isinstance(answer, Busy):
            assert not asked.node.alive or asked.node.leases._ending.is_set(), f"refused: {answer}"
            return
        self._in_time(asked)
        self._answers += 1
        absent = {int(name.removeprefix(f"{STREAM} ")) for name in answer.coverage.absent}
        self._partial += bool(absent)
        assert not absent or asked.node.number not in self._whole or not self._orderly, f"a move in order left out {absent}"
        self._whole |= set() if absent else {asked.node.number}
        assert bool(absent) == (EVER in answer.coverage.missing), answer.coverage
        self._judge_tag(asked.node, answer)
        for shard, epoch in _epochs(answer):
            assert epoch >= asked.known.get(shard, -1), f"a part of shard {shard} by lease {epoch} of {asked.known}"
        partitions = self.plan.topic.lives[0].partitions
        own = [part for number, part in enumerate(partitions) if number % self._shards not in absent]
        expected = [record for part in own for record in part.records if self._counts(record)]
        given = [record.truth for record in expected if record.at <= now]
        self._judge_replay(asked, answer, given, absent)
        self.plan.feed.claim(answer, self._stats(), [given], [record.truth for record in expected])

    def _judge_replay(self, asked: _Asked, answer: Answer, given: list[Any], absent: set[int]) -> None:
        """Assert that each shard of the answer has what its partitions had when a lease that may have answered began."""
        if absent or answer.coverage.missing or not hasattr(self.plan.feed, "_orderly"):
            return
        due: list[Any] = []
        for number, partition in enumerate(self.plan.topic.lives[0].partitions):
            shard = number % self._shards
            known = asked.known.get(shard, -1)
            began = [
                at for (one, lease), at in self._around.begun.items() if one == shard and lease <= known and at <= asked.at
            ]
            due += [
                record.truth for record in partition.records if self._counts(record) and record.at <= max(began, default=0.0)
            ]
        ever = structs.replace(answer, coverage=structs.replace(answer.coverage, complete_to=INT64_MAX))
        punctual, self.plan.feed.punctual = self.plan.feed.punctual, True
        try:
            self.plan.feed.claim(ever, SimpleNamespace(progress=SimpleNamespace(late=0)), [given], due)
        finally:
            self.plan.feed.punctual = punctual

    def _judge_tag(self, node: Node, answer: Answer) -> None:
        """Assert that answers of a process from the same slices have the same bytes: then they have the same entity tag."""
        if answer.origin is None:
            return
        text = b"".join(write(answer, "json", answer.view.remarks(answer.partial, answer.arguments)))
        key = (node.number, answer.origin, answer.span, repr(answer.arguments))
        assert self._rendered.setdefault(key, text) == text, f"one tag, two answers: {text!r}, {self._rendered[key]!r}"

    def _counts(self, record: Record) -> bool:
        """Whether a record is an event whose time has come."""
        ahead = self.plan.ahead.limit is not None and record.truth is not None
        return record.truth is not None and not (ahead and self.plan.feed.time_of(record.truth) >= LATEST_MS)

    def _stats(self) -> Any:
        """Return what feeds read of statistics, over all engines."""
        engines = [(node, engine) for node in self._living() for engine in node.shards.engines.values()]
        found = [node.actor(engine.running.manager) for node, engine in engines]
        managers = [manager for manager in found if manager is not None]
        froms = [manager._ledger.complete_from for manager in managers]
        dropped = sum(sum(manager._ledger.dropped.values()) for manager in managers)
        return SimpleNamespace(
            progress=SimpleNamespace(late=sum(manager._progress.late for manager in managers)),
            coverage=SimpleNamespace(complete_from=max((each for each in froms if each is not None), default=None)),
            dropped=dropped,
            dropped_generations=dropped,
            memory=SimpleNamespace(budget_bytes=self.plan.budget_bytes),
            active=SimpleNamespace(summary=SimpleNamespace(lowest_forgotten=None)),
        )

    def _rest(self) -> None:
        """Run until each shard is at one process that has read all records, and all processes know it."""
        deadline = self.clock.now() + _REST_S
        state = "nothing"
        while self.clock.now() < deadline:
            until = self.clock.now() + 0.5
            while self.clock.now() < until:
                self._step()
            state = self._unrest()
            if state is None:
                return
        raise AssertionError(f"the cluster does not come to rest: {state}")

    def _unrest(self) -> str | None:
        """Return why the cluster is not at rest, or None."""
        living = self._living()
        if len(living) != len([node for node in living if node.awake()]) or not living:
            return "a process sleeps"
        if self._coming or not all(node.joined() for node in living):
            return "a process has not joined"
        if not all(node.connected() for node in living):
            return "Kafka is away"
        if not self._around.coordinator.quiet():
            return "shards are about to move"
        newest = self._around.coordinator.newest()
        held = Counter(shard for node in living for shard in node.shards.engines)
        if held != Counter(range(self._shards)):
            return f"shards {dict(held)}"
        for node in living:
            leases = node.leases
            if node.actor(node.guardian)._degraded:  # given up: an operator restarts the process
                self._kill(node)
                return f"process {node.number} is restarted"
            if (
                leases.draining
                or leases.doubtful()
                or not leases._given == leases._announced == leases._running == set(node.shards.engines)
            ):
                return f"the leases of process {node.number} are not certain"
            for shard, engine in node.shards.engines.items():
                if not engine.source.caught_up() or not engine.source.whole():
                    return f"shard {shard} at {node.number} reads"
                manager = node.actor(engine.running.manager)
                progress = manager._progress
                if progress.state != "at the end" or progress.buffered or progress.in_flight:
                    return f"shard {shard} at {node.number}: {progress.state}"
                metas = [each.meta for each in manager._shelf.aged] + [manager._shelf.active.meta]
                if (
                    sum(meta.events for meta in metas) + sum(manager._ledger.dropped.values()) + progress.apart
                    != progress.events
                ):
                    return f"shard {shard} at {node.number}: events under way"
            gatherer = node.actor(node.gatherer)
            holders = gatherer._holders
            found = {shard: each.epoch for shard, each in (*holders._places.items(), *holders.here.items())}
            down = [shard for shard in holders.elsewhere if holders.who(shard) is None]
            if down or not found == node.known == newest:
                return f"process {node.number} knows {found} of {node.known}, and shards {down} do not answer"
            if not all(holders.who(shard) for shard in holders.here):
                return f"the slices of process {node.number} have not all that was there"
            if node.peers.under_way:
                return f"process {node.number} has requests under way"
        waiting = [asked for asked in self._asked if not asked.answered and asked.node.alive]
        return f"{len(waiting)} questions wait" if waiting else None

    def _judge(self) -> None:
        """Assert that each process answers for all shards, the same as the others, and has forgotten all earlier questions."""
        living = self._living()
        partitions = self.plan.topic.lives[0].partitions
        events = [record.truth for part in partitions for record in part.records if self._counts(record)]
        for question in self.plan.feed.questions:
            texts = set[bytes]()
            for node in living:
                for _ in range(2):
                    answer = self._answer(node, question)
                assert not answer.coverage.absent, f"at rest, process {node.number} lacks {answer.coverage}"
                self.plan.feed.whole(answer, self._stats(), [events], [])
                estimated = any(answer.view.remarks(answer.partial, answer.arguments).values())
                if not estimated and self.plan.view in {"words", "top"}:  # others say what the clock has passed
                    texts.add(b"".join(write(answer, "json", {})))
            assert len(texts) <= 1, f"processes answer {question} differently: {texts}"
        for node in living:
            gatherer = node.actor(node.gatherer)
            waiting = [asked for asked in gatherer._asked.values() if asked.query.counts]  # the others are of the publisher
            assert not waiting, f"process {node.number} waits for {waiting}"
            assert not gatherer._counting, f"process {node.number} counts {gatherer._counting}"

    def _judge_results(self) -> None:
        """Assert that readers of the output see each row once, and soon all frames of each period."""
        if self.plan.view != "uniques":
            return
        partitions = self.plan.topic.lives[0].partitions
        events = [record.truth for part in partitions for record in part.records if self._counts(record)]
        right = {period: count.frames for period, count in self.plan.feed.counted(events).items()}
        deadline = self.clock.now() + _REST_S
        while True:
            found = {period: row["frames"] for period, row in judge_rows(self._around.results).items()}
            many = {period: frames for period, frames in found.items() if frames > right.get(period, 0)}
            assert not many, f"rows with frames that are not there: {many}"
            if found == right or self._stats().dropped:
                return
            assert self.clock.now() < deadline, f"not published: {set(right.items()) - set(found.items())}"
            until = self.clock.now() + 0.5
            while self.clock.now() < until:
                self._step()

    def _answer(self, node: Node, question: tuple[Any, Any]) -> Answer:
        replies: list[Any] = []
        node.gatherer.tell(Query(*question, 10.0, replies.append))
        for _ in range(100_000):
            if replies:
                assert isinstance(replies[0], Answer), replies[0]
                return replies[0]
            self._step()
        raise AssertionError("a question gets no answer")


def _plan(seed: int, view: str, chance: random.Random) -> Scenario:
    """Return the scenario of a seed, with one life of the topic that loses no records, and with faults of a network."""
    plan = scenario(seed, view=view)
    first = plan.topic.lives[0]
    pauses = view != "top" and chance.random() < 0.6  # the truth of `top` has offsets
    partitions = [
        Partition(_paused(each.records, chance) if pauses else each.records, there_from=each.there_from)
        for each in first.partitions
    ]
    if view == "funnel":
        partitions = _by_key(partitions, first.since)
    rates = {
        **plan.rates,
        **{
            kind: chance.choice([0.0, rate])
            for kind, rate in {
                "lost": 0.01,
                "doubled": 0.1,
                "refused": 0.01,
                "slow lease": 0.3,
                "slow leases": 0.03,
                "lease refused": 0.03,
                "unknown commit": 0.2,
                "slow results": 0.3,
                "results refused": 0.05,
                "folder lost": 0.3,
                "crash": 0.0002,
            }.items()
        },
        "clock jump": 0.0,
        "stall": 0.0,
        "slow disk": 0.0,  # both would stop all processes at once
    }
    rates["delayed"] = chance.choice([0.0, 0.03, 0.3])
    if chance.random() < 0.7:
        rates["starve"] = 0.0
        plan.feed.punctual = plan.feed.punctual or getattr(plan.feed, "_orderly", False)
    if view == "top":
        plan = replace(plan, budget_bytes=1 << 40)
    return replace(
        plan,
        topic=SimulatedTopic([replace(first, until=NEVER, partitions=partitions)]),
        rates=rates,
        max_aged=None if view == "top" else plan.max_aged,
    )


def _epochs(answer: Answer) -> list[tuple[int, int]]:
    """Return the shards of an answer from frozen slices alone, each with the lease by which it answered."""
    marks = [two for one, two in answer.origin or () if one < 0]  # see `joining.origin_of`
    return list(zip(marks[::2], marks[1::2], strict=True))


def _by_key(partitions: Sequence[Partition], since: float) -> list[Partition]:
    """Return the same records, each event in the partition of its key, as clients of librdkafka choose it."""
    logs: list[list[Record]] = [[] for _ in partitions]
    for number, partition in enumerate(partitions):
        for record in partition.records:
            logs[number if record.truth is None else crc32(record.truth.key.encode()) % len(logs)].append(record)
    return [Partition(log, there_from=since) for log in logs]


def _paused(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Return the records without those of some time: so a partition falls silent, and goes on."""
    if not records:
        return []
    first, last = records[0].at, records[-1].at
    beginning = chance.uniform(first, last)
    end = chance.uniform(beginning, last)
    return [record for record in records if not beginning < record.at < end]


if __name__ == "__main__":
    for given in filter(str.isdigit, sys.argv):
        print(ClusterWorld(int(given)).traced())  # noqa: T201
