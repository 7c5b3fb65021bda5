"""The real service with a stream of each view, and data in each stream, for tests of the whole interface."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import Send, create_topic
from tests.support.running import records
from tests.support.service import Service, service

STREAMS = ("events", "dataset", "segments", "uniques", "words", "funnel")
START = 1_468_244_384_000
EVENTS = [(START + 10 * number, number % 3) for number in range(2_700)]


def values(pattern: str, count: int) -> list[bytes]:
    """Return records as the producer makes them."""
    return [value for chunk in chunks(pattern, Spec(count, START, partitions=3, size=5)) for value in chunk.values]


@contextmanager
def everything(broker: str, send: Send, folder: Path, *settings: str, also: Sequence[str] = ()) -> Iterator[Service]:
    """Run the service with sets in aged collectors and in the live one, batches, periods, counts and sequences."""
    names = {stream: create_topic(broker) for stream in STREAMS}
    chance = random.Random(1)
    data = {
        "events": [*records(EVENTS), b"no event"],
        "dataset": [f"{number}_{chance.randrange(10**6)}".encode() for number in range(300)],
        "segments": values("segments", 45),
        "uniques": values("uniques", 600),
        "words": values("words", 600),
        "funnel": values("orders", 300),
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
