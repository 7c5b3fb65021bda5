"""The scenario of a seed: the view, the topic, the pace, and the rates of the faults."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import starmap

from actors.reading.pace import Pace
from actors.timeline.horizon import Ahead
from tests.simulation.feed import Feed
from tests.simulation.funnel_feed import FunnelFeed
from tests.simulation.segment_feed import SegmentFeed
from tests.simulation.set_feed import SetFeed
from tests.simulation.top_feed import TopFeed
from tests.simulation.topic import Life, Partition, Record, SimulatedTopic
from tests.simulation.unique_feed import UniqueFeed
from tests.simulation.word_feed import WordFeed

BEGIN_S = 1_001.0
NEVER = float("inf")
VIEWS = ("sets", "segments", "uniques", "sets", "top", "segments", "words", "sets", "uniques")
"""The views of the seeds, in turn. Their number is odd, so that each view gets failing handlers and poison (each fourth seed)."""

_CANDIDATES = 10
_MOST_ALIKE = 3
_HOUR_MS = 3_600_000
_DECADE_MS = 315_360_000_000
LATEST_MS = 1_720_000_000_000
"""A time that lies after the clock of every run, and before the times of clocks that are ahead."""

"""Of how many records poison is chosen, and how many it may be then."""


@dataclass(frozen=True)
class Scenario:
    """The plan of one run."""

    view: str
    feed: Feed
    topic: SimulatedTopic
    pace: Pace
    rates: Mapping[str, float]
    lateness: int
    idle_s: float
    slow_s: float
    budget_bytes: int
    max_aged: int | None
    crashes: int
    ahead: Ahead
    """The policy for times ahead of the clock. With a limit, some records are ahead by decades, and wait."""

    durable: bool
    """Whether a process finds the checkpoints of the one before."""

    transactional: bool


def scenario(seed: int, *, handlers: bool = False, poison: bool = False, view: str | None = None) -> Scenario:
    """Return the scenario of a seed, of the given `view` or of the one in turn.

    With `handlers`, any actor also fails at some messages. With `poison`, a slice fails at some records every time.
    """
    chance = random.Random(f"{seed} scenario")
    view = view or VIEWS[seed % len(VIEWS)]
    orderly = chance.random() < 0.6
    size = chance.choice([5, 20, 20, 60, 10_000])
    feed = _feed(view, chance, orderly=orderly, size=size, deletes=random.Random(f"{seed} deletes"))
    rates = {
        kind: chance.choice([0.0, rate])
        for kind, rate in {
            "stall": 0.01,
            "starve": 0.01,
            "open": 0.1,
            "unseen": 0.2,
            "poll": 0.015,
            "poll after reading": 0.015,
            "empty poll": 0.3,
            "slow partition": 0.05,
            "sink": 0.3,
            "slow sink": 0.5,
            "clock jump": 0.005,
            "memory spike": 0.2,
            "crash": 0.01,
            "disk": 0.05,
            "disk reads": 0.0,
            "slow disk": 0.1,
            "fenced": 0.02,
        }.items()
    }
    idle_s = chance.choice([0.2, 1.0])
    durable = chance.random() < 0.75
    if chance.random() < 0.4:
        rates["stall"] = rates["starve"] = 0.0
    feed.punctual = orderly and not rates["stall"] and not rates["starve"]
    rates["dead letters"] = random.Random(f"{seed} dead letters").choice([0.0, 0.3, 0.95])
    kafka = random.Random(f"{seed} kafka")
    rates["refused"], rates["forgets"] = kafka.choice([0.0, 0.03]), kafka.choice([0.0, 0.1])
    if handlers:
        rates["handler"] = 0.001
    topic = _topic(chance, feed, orderly=orderly)
    clocks = random.Random(f"{seed} clocks")
    ahead = Ahead(_HOUR_MS if feed.dated and clocks.random() < 0.4 else None)
    if ahead.limit is not None:
        topic = _misdated(topic, feed, clocks)
    if poison:
        topic = _poisoned(topic, feed, random.Random(f"{seed} poison"))
    return Scenario(
        view=view,
        feed=feed,
        topic=topic,
        pace=_pace(chance, orderly=orderly),
        rates=rates,
        lateness=500,
        idle_s=idle_s,
        slow_s=idle_s / 2 if orderly else 3.0,
        budget_bytes=chance.choice([1 << 40, 1 << 40, *feed.budgets]),
        max_aged=chance.choice([None, None, 3]),
        crashes=chance.choice([0, 1, 2, 3, 6]),
        ahead=ahead,
        durable=durable,
        transactional=chance.random() < 0.5,
    )


def _feed(view: str, chance: random.Random, *, orderly: bool, size: int, deletes: random.Random) -> Feed:
    """Return the feed of a view. A slice is full at about `size` events. `deletes` decides about tombstones."""
    match view:
        case "sets":
            return SetFeed(chance, orderly=orderly, max_sets=size)
        case "sets within a time":
            return SetFeed(chance, orderly=orderly, max_sets=size, within=chance.choice([30, 400, 5_000]))
        case "segments":
            return SegmentFeed(chance, max_batches=size)
        case "uniques":
            return UniqueFeed(chance, orderly=orderly, max_cells=6 * size)
        case "funnel":
            return FunnelFeed(chance, orderly=orderly, max_sequences=size)
        case "words":
            return WordFeed(chance, orderly=orderly, max_pairs=4 * size)
        case _:
            return TopFeed(chance, orderly=orderly, deletes=deletes)


def _pace(chance: random.Random, *, orderly: bool) -> Pace:
    return Pace(
        poll_records=chance.choice([7, 40, 200]),
        rest_s=chance.choice([0.02, 0.05]),
        micro_batch=chance.choice([5, 30, 6_000]),
        credits=chance.choice([1, 2, 4]),
        buffer_events=1_000_000 if orderly else chance.choice([40, 1_000_000]),
        look_s=chance.choice([0.5, 5.0]),
        checkpoint_s=chance.choice([0.2, 1.0]),
        checkpoint_events=chance.choice([30, 1_000_000]),
    )


def _topic(chance: random.Random, feed: Feed, *, orderly: bool) -> SimulatedTopic:
    """Return a topic with one life or two, with or without a backlog. It may lose its oldest records."""
    count, seconds = chance.choice([60, 200, 500]), chance.choice([1.0, 3.0, 8.0])
    partitions = chance.choice([1, 2, 3, 5])
    since = BEGIN_S + chance.choice([-1.5 * seconds, 0.0, 0.5])
    lives = [_life(chance, feed, "first", count, since=since, seconds=seconds, partitions=partitions, orderly=orderly)]
    if not orderly and chance.random() < 0.3:
        gone = max(BEGIN_S, since) + chance.uniform(0.3, 1.0) * seconds
        again = gone + chance.choice([0.0, 0.0, 1.0])
        first = lives[0]
        lives = [
            Life(first.identity, first.since, gone, first.partitions),
            _life(
                chance, feed, "second", count, since=again, seconds=seconds, partitions=chance.choice([1, 3]), orderly=orderly
            ),
        ]
    return SimulatedTopic(lives)


def _misdated(topic: SimulatedTopic, feed: Feed, clocks: random.Random) -> SimulatedTopic:
    """Return the topic with some records, or all of the first partition, from clocks that are ahead by decades."""
    rate, whole = clocks.choice([0.01, 0.05, 0.3]), clocks.random() < 0.2

    def misdated(number: int, record: Record) -> Record:
        wrong = clocks.random() < rate or (whole and not number)
        return feed.later(record, clocks.randint(1, 4) * _DECADE_MS) if wrong and record.truth is not None else record

    def read_wrongly(number: int, partition: Partition) -> Partition:
        return partition.with_records([misdated(number, record) for record in partition.records])

    return SimulatedTopic(
        [replace(life, partitions=list(starmap(read_wrongly, enumerate(life.partitions)))) for life in topic.lives]
    )


def _poisoned(topic: SimulatedTopic, feed: Feed, chance: random.Random) -> SimulatedTopic:
    """Return the topic with one or two poisoned records, and the few records that a view cannot tell from them."""
    records = [record for record in topic.records if record.truth is not None]
    candidates = chance.sample(records, min(len(records), _CANDIDATES))
    few = [each for each in candidates if sum(feed.alike(each.truth, other.truth) for other in records) <= _MOST_ALIKE]
    deadly = few[: chance.randint(1, 2)]

    def marked(record: Record) -> Record:
        alike = record.truth is not None and any(feed.alike(record.truth, each.truth) for each in deadly)
        return record._replace(poison=True) if alike else record

    return SimulatedTopic(
        [
            replace(life, partitions=[part.with_records(map(marked, part.records)) for part in life.partitions])
            for life in topic.lives
        ]
    )


def _life(
    chance: random.Random,
    feed: Feed,
    identity: str,
    count: int,
    *,
    since: float,
    seconds: float,
    partitions: int,
    orderly: bool,
) -> Life:
    logs: list[list[Record]] = [[] for _ in range(partitions)]
    silent = chance.randrange(partitions) if partitions > 1 and chance.random() < 0.3 else None
    for record in feed.records(chance, count, since, since + seconds):
        number = feed.shard(record, partitions, chance)
        if number != silent:
            logs[number].append(record)
    made = []
    for number, log in enumerate(logs):
        added = since + 0.4 * seconds if not orderly and number and chance.random() < 0.2 else since
        log = feed.logged(number, [record._replace(at=max(record.at, added)) for record in log])  # noqa: PLW2901
        deletions = []
        if chance.random() < 0.25 and log:
            deletions = [(max(BEGIN_S, since) + chance.uniform(0.2, 1.0) * seconds, chance.randrange(len(log)))]
        made.append(Partition(log, there_from=added, deletions=deletions))
    return Life(identity, since, NEVER, made)
