"""The real service with a stream of each view, and data in each, for tests of the whole interface."""

import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import Send
from tests.support.running import records
from tests.support.service import Service, service

STREAMS = ("events", "dataset", "segments", "uniques", "words")
START = 1_468_244_384_000
EVENTS = [(START + 10 * number, number % 3) for number in range(2_700)]


def topics(broker: str, partitions: int) -> dict[str, str]:
    """Create a topic for each stream, and return their names."""
    names = {stream: f"e-{stream}-{uuid.uuid4().hex}" for stream in STREAMS}
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.create_topics([NewTopic(each, partitions, 1) for each in names.values()]).values():
        future.result(timeout=20)
    return names


def values(pattern: str, count: int) -> list[bytes]:
    """Return records as the producer makes them."""
    return [value for chunk in chunks(pattern, Spec(count, START, partitions=3, size=5)) for value in chunk.values]


@contextmanager
def everything(broker: str, send: Send, folder: Path, *settings: str, also: Sequence[str] = ()) -> Iterator[Service]:
    """Run the service with sets in aged collectors and in the live one, finished and pending batches, periods and counts."""
    names = topics(broker, 3)
    chance = random.Random(1)
    data = {
        "events": [*records(EVENTS), b"no event"],
        "dataset": [f"{number}_{chance.randrange(10**6)}".encode() for number in range(300)],
        "segments": values("segments", 45),
        "uniques": values("uniques", 600),
        "words": values("words", 600),
    }
    for stream, found in data.items():
        send(broker, names[stream], found, [0] * len(found))
    words = [f"streams.{stream}.source.topic={name}" for stream, name in names.items()]
    words += [f"streams.segments.output={{file: {folder / 'lines.txt'}}}", "streams.uniques.output={}"]
    words += ["streams.events.max_sets=200", *settings]
    only = [word for stream in STREAMS for word in ("--only", stream)]
    with service(broker, None, *words, also=[*only, *also]) as running:
        for stream, found in data.items():
            running.settled(len(found), stream)
        yield running
