"""One run of a seed, and the laws that must hold during the run and at its end.

`python -m tests.simulation.simulation SEED` runs a seed and prints the identity of its trace, even if a law is broken.
"""

import random
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.durability.store import Store
from actors.replies import Answer, Busy, Query
from tests.simulation.disk import SimulatedDisk
from tests.simulation.faults import CrashError, Faults
from tests.simulation.instances import Older
from tests.simulation.process import FOLDER, Process, World
from tests.simulation.scenario import LATEST_MS, Scenario, scenario
from tests.simulation.topic import Record
from tests.simulation.trace import Trace
from tests.support.running import placed

_REST_S = 200.0
"""Seconds in which the stream must come to rest after the last fault."""

_PART_S = 20.0
"""Seconds in which one of two instances must end, if both write."""

_SHARE = 0.5
_TURNS = (1, 1, 1, 20, 100)
"""How often the older one of two instances has the next turn, and how many steps a turn has."""

_MOST_STEPS = 100_000

_END_S = 1e16
"""Seconds after which the time of every event has come."""


class _Received(NamedTuple):
    """An answer; the events that had been given when it came, by life; and the events that were expected then."""

    answer: Answer
    given: list[list[Any]]
    expected: list[Any]


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    plan: Scenario
    identity: str
    steps: int
    crashes: int
    questions: int
    struck: dict[str, int]


class Simulation:
    """A run of `seed`. `trace` has its events, even if a law is broken. `handlers` and `poison` are those of `scenario`.

    Without `instances` there is one instance of the service at a time.
    """

    def __init__(
        self, seed: int, *, handlers: bool = False, poison: bool = False, instances: bool = True, view: str | None = None
    ) -> None:
        self.plan = scenario(seed, handlers=handlers, poison=poison, view=view)
        self._world = World(seed, self.plan)
        self.trace = self._world.trace
        self._process = Process(self._world)
        self._transactional = self.plan.durable and self.plan.transactional and self.plan.feed.publishes
        self._crashes = 0
        self._matured = self.plan.ahead.limit is None
        """Whether the time of every event has come."""
        self._repeated = False
        """Whether a process died that could not write a checkpoint. Its results in a file are written again then."""
        self._answered = 0
        self._received: list[_Received] = []
        self._crash_at = self._next_crash()
        self._pairs = random.Random(f"{seed} instances")
        self._older: Older | None = None
        self._turn, self._turn_until = False, 0
        self._ended: Counter[str] = Counter()
        left = self._pairs.choice([0, 1, 1, 3]) if instances and self._transactional else 0
        self._second_at = sorted(self._pairs.randrange(1, 1_500) for _ in range(left))

    def run(self) -> Outcome:
        """Run to the end. Raises AssertionError if a law is broken."""
        world = self._world
        try:
            until = max(self.plan.topic.complete_at, world.clock.now() + 1) + 1
            while world.clock.now() < until:
                self._step()
            world.faults.on = False
            self._part()
            if self._process.degraded():
                self._restart("given up")
            self._rest()
            self._judge()
            self._process.drain()
            self._judge_results()
            self._judge_dead_letters()
            self._judge_files()
            if self.plan.durable:
                self._restart("crash")
                self._rest()
                self._judge()
                self._judge_files()
                self._judge_results()
                self._judge_dead_letters()
                if not self._matured:
                    self._let_times_come()
        finally:
            self._process.die()
        struck = dict(world.faults.struck + self._ended)
        return Outcome(self.plan, self.trace.identity, self.trace.step, self._crashes, self._answered, struck)

    def _let_times_come(self) -> None:
        """Set the clock to the end of all times: every event that was kept apart is taken in, once."""
        self._world.clock.jump(_END_S)
        self._matured = True
        self._rest()
        self._judge()
        self._process.drain()
        self._judge_results()

    def traced(self) -> str:
        """Run, and return the identity of the trace, even if a law is broken."""
        with suppress(AssertionError):
            self.run()
        return self.trace.identity

    def _step(self) -> None:
        assert self.trace.step < _MOST_STEPS, "the run does not end"
        if self._world.faults.strikes("clock jump"):
            self._world.clock.jump(self._world.chance.choice([-3_600.0, 3_600.0]))
        if self._world.chance.random() < 0.02:
            self._query()
        if self._second_at and self.trace.step >= self._second_at[0] and self._older is None:
            self._second_at.pop(0)
            self._begin_second()
        if self._older is not None and self._turn_of_older(self._older):
            self._step_older(self._older)
            return
        dead = self._crash_at is not None and self.trace.step >= self._crash_at
        if not dead:
            try:
                self._process.step()
                self._judge_answers()
            except CrashError:
                dead = True
        if self._process.superseded is not None:
            self._go_back()
        elif dead:
            self._crashes += 1
            self._crash_at = self._next_crash()
            self._restart("crash")

    def _next_crash(self) -> int | None:
        if self._crashes >= self.plan.crashes:
            return None
        return self.trace.step + self._world.chance.randrange(1, 500)

    def _restart(self, why: str) -> None:
        self._process.die()
        self._received.clear()
        self.trace.note("process", why)
        if why == "crash" and self._world.chance.random() < 0.5:
            self._world.lose_power()
        if self.plan.durable and not self._transactional and not self._store()[0].checkpoints():
            self._repeated = True
        self._process = Process(self._world)

    # Two instances ---------------------------------------------------------------------------------------------------

    def _begin_second(self) -> None:
        """Start another process over a copy of the disk. The first one goes on, at once or after it was frozen for a while."""
        world = self._world
        frozen_s = self._pairs.choice([0.0, 0.0, self._pairs.uniform(0.0, 6.0)])
        self._older = Older(self._process, world.platter, world.ledger, world.clock.now() + frozen_s)
        self._received.clear()
        world.platter, world.ledger = world.platter.copy(), world.ledger.copy()
        self.trace.note("process", "second instance")
        self._process = Process(world)

    def _turn_of_older(self, older: Older) -> bool:
        """Whether the older instance does the next step. Now and then one of the two gets no time for many steps."""
        if self.trace.step >= self._turn_until:
            self._turn = self._pairs.random() < _SHARE
            self._turn_until = self.trace.step + self._pairs.choice(_TURNS)
        return self._turn and older.awake(self._world.clock.now()) is not None

    def _step_older(self, older: Older) -> None:
        process = older.awake(self._world.clock.now())
        if process is None:
            return
        try:
            process.step()
        except CrashError:
            self.trace.note("process", "the older one crashes")
            process.die()
            older.process = None
        if process.superseded is not None:
            process.die()
            self._ended["the older one ended"] += 1
            self._older = None

    def _go_back(self) -> None:
        """Continue with the older instance: the results of this one's disk are not those in the outlet."""
        older, reason = self._older, self._process.superseded
        assert older is not None, f"the only instance has ended: {reason}"
        self._ended["the newer one ended"] += 1
        self._process.die()
        self._received.clear()
        self._world.platter, self._world.ledger = older.platter, older.ledger
        self._process = older.process or Process(self._world)
        self._older = None

    def _part(self) -> None:
        """Let one of two instances end. The older one is killed if it has nothing to write."""
        deadline = self._world.clock.now() + _PART_S
        while self._older is not None and self._world.clock.now() < deadline:
            self._step_older(self._older)
            self._process.step()
            if self._process.superseded is not None:
                self._go_back()
        if self._older is not None and self._older.process is not None:
            self._older.process.die()

    # The laws --------------------------------------------------------------------------------------------------------

    def _query(self) -> None:
        """Send a query in the middle of the run. The answer is judged when it comes, by the records read by then."""

        process = self._process

        def receive(reply: Answer | Busy) -> None:
            if isinstance(reply, Answer) and process is self._process:  # another instance has read other records
                self._received.append(_Received(reply, self._events(), self._expected()))

        span, arguments = self._world.chance.choice(self.plan.feed.questions)
        process.running.manager.tell(Query(span, arguments, 10.0, receive))

    def _judge_answers(self) -> None:
        """Assert that the answers claim nothing false. Not in the actor that replied: there a failed assertion would be its failure."""
        received, self._received = self._received, []
        stats = self._process.stats() if received else None
        if stats is None or self._innocent(stats):  # the request failed; or the right events are unknown
            return
        for answer, given, expected in received:
            self._answered += 1
            self.plan.feed.claim(answer, stats, given, expected)

    def _expected(self) -> list[Any]:
        """Return the events that were given or will be given, without poison."""
        lives = self._world.ledger.lives(to_come=True)
        return [record.truth for life in lives for record in life if self._counts(record) and not record.poison]

    def _counts(self, record: Record) -> bool:
        """Whether a record is an event whose time has come."""
        return record.truth is not None and (self._matured or not self._is_ahead(record))

    def _is_ahead(self, record: Record) -> bool:
        """Whether the time of an event is ahead of the clock of the run, under a policy that lets it wait."""
        return self.plan.ahead.limit is not None and self.plan.feed.time_of(record.truth) >= LATEST_MS

    def _rest(self) -> None:
        """Run until all records are read and all events are in slices."""
        world, stats = self._world, None
        deadline = world.clock.now() + _REST_S
        while world.clock.now() < deadline:
            stats = self._process.stats()
            due = sum(map(len, world.ledger.lives()))
            progress = stats.progress
            quiet = not progress.buffered and not progress.in_flight and progress.state == "at the end"
            all_read = world.ledger.whole(world.clock.now()) and progress.records == due
            whole = placed(stats) + progress.apart == progress.events and not (self._matured and progress.apart)
            if quiet and all_read and whole and self._saved(due):
                return
            self._process.run(0.5)
        raise AssertionError(f"the stream does not come to rest: {due} records were given; {self._brief(stats)}")

    def _judge(self) -> None:
        """Assert the sums of the counters, the coverage, and the answers."""
        answers, stats = self._answers(), self._process.stats()
        ledger = self._world.ledger
        records = self._records()
        junk = sum(record.truth is None for record in records)
        progress = stats.progress
        assert progress.records == len(records), self._brief(stats)
        poison = progress.rejects.get("poison", 0)
        assert sum(progress.rejects.values()) == junk + poison, self._brief(stats)
        assert progress.events == len(records) - junk - poison, self._brief(stats)
        deadly = sum(record.poison and self._counts(record) for record in records)
        innocent = self._innocent(stats)
        assert poison == deadly or innocent, self._brief(stats)
        assert placed(stats) + progress.apart == progress.events, self._brief(stats)
        early = sum(record.truth is not None and not self._counts(record) for record in records)
        assert progress.apart == early, self._brief(stats)
        lost = ledger.lost()
        if ledger.complete and not poison and len(ledger.lives()) < 2:
            assert not stats.coverage.missing, f"no record was missed, but {stats.coverage}"
        if not innocent:
            missed = [record.truth for record in lost if record.truth is not None and not self._is_ahead(record)]
            for answer in answers:
                self.plan.feed.whole(answer, stats, self._events(), missed)

    def _innocent(self, stats: Any) -> bool:
        """Whether harmless records were set aside as poison: a record that was alone in a batch whose handler failed."""
        deadly = sum(record.poison and self._counts(record) for record in self._records())
        return bool(self._world.faults.struck["handler"]) and stats.progress.rejects.get("poison", 0) > deadly

    def _judge_results(self) -> None:
        """Assert that every due result was published, and no other. Results before a first checkpoint may be repeated."""
        answers, stats = self._answers(), self._process.stats()
        ledger = self._world.ledger
        gone = ledger.forgotten or (ledger.read_again and not ledger.complete)
        if self._innocent(stats) or (not self.plan.durable and gone):
            return  # the latter: results of records that were deleted before they were read again cannot be judged
        failing = bool(self._world.faults.struck["handler"]) or any(record.poison for record in self._records())
        repeated = self._repeated or (failing and not self.plan.durable)
        self.plan.feed.published(self._world.outlet.records, self._events(), answers, stats, repeated=repeated)

    def _answers(self) -> list[Answer]:
        """Return the answers to all queries."""
        return [self._process.answer(*question) for question in self.plan.feed.questions]

    def _judge_dead_letters(self) -> None:
        """Assert that every refused record that was given is among the dead letters."""
        missing = Counter(self._world.ledger.refused())
        missing.subtract(Counter((dead.partition, dead.offset, dead.value) for dead in self._world.outlet.dead))
        assert not +missing, f"missing dead letters: {+missing}"

    def _judge_files(self) -> None:
        """Assert that the folder has at most two checkpoints, the files that they name, and files that the next one may name."""
        store, there = self._store()
        kept = store.checkpoints()
        named = {f"checkpoint-{number:010}.firn" for number in kept}
        named |= {str(each[1]) for number in kept for each in store.read_checkpoint(number)["aged"]}
        assert 1 <= len(kept) <= 2, f"checkpoints {kept}"
        assert named <= there, f"named, but missing: {sorted(named - there)}"
        oldest = f"generation-{min(kept) if len(kept) == 2 else 0:010}"
        left = sorted(name for name in there - named if name < oldest or not name.endswith(".firn"))
        assert not left, f"not named by a checkpoint of {kept}: {left}"

    def _saved(self, records: int) -> bool:
        """Whether a checkpoint has `records` records, and its results are committed."""
        store, _ = self._store()
        newest = max(store.checkpoints(), default=None)
        if newest is None or store.read_checkpoint(newest)["front_end"]["counts"][0] != records:
            return False
        return not self._transactional or self._world.outlet.done == newest

    def _store(self) -> tuple[Store, set[str]]:
        """Return the store of another process over the same disk, and the names of its files."""
        fine = Faults(random.Random(0), {}, Trace())
        disk = SimulatedDisk(self._process.platter, self._world.clock, random.Random(0), fine)
        return Store(FOLDER, disk), set(disk.names(FOLDER))

    def _records(self) -> list[Record]:
        return [record for life in self._world.ledger.lives() for record in life]

    def _events(self) -> list[list[Any]]:
        """Return the events that answers must consist of, by life: all given events without poison."""
        lives = self._world.ledger.lives()
        return [[record.truth for record in life if self._counts(record) and not record.poison] for life in lives]

    @staticmethod
    def _brief(stats: Any) -> str:
        progress = stats.progress
        return (
            f"records {progress.records}, events {progress.events}, rejects {dict(progress.rejects)}, buffered {progress.buffered}, apart {progress.apart}, "
            f"in flight {progress.in_flight}, held {[meta.events for meta in (*stats.aged, stats.active)]}, dropped {stats.dropped}, "
            f"lag {progress.lag}, {progress.state}"
        )


if __name__ == "__main__":
    for given in filter(str.isdigit, sys.argv):
        print(Simulation(int(given), handlers="--handlers" in sys.argv, poison="--poison" in sys.argv).traced())  # noqa: T201
