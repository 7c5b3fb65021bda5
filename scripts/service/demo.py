"""The option `--demo`: a gentle producer that runs with the service, and commands to try in another terminal."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from config.settings import Settings
from scripts.brokers.process import end
from scripts.checkout import IS_CHECKOUT, own_command

_CURLS = """\
sets form now. Try, in another terminal:

  curl '{url}/events/get-stats'
  curl '{url}/events/get-sets?startTime=0&endTime=9999999999999&limit=3'
  curl '{url}/events/get-sets?startTime=0&endTime=9999999999999&limit=3' -H 'Accept: application/x-ndjson'
  {ask} stats

Ctrl-C ends everything."""


def what_to_try(url: str) -> str:
    """Return commands that ask the service at `url`, as a user would type them here."""
    ask = f"{os.path.relpath(sys.executable)} scripts/query.py" if IS_CHECKOUT else "firnline query"
    return _CURLS.format(url=url, ask=ask)


@contextlib.contextmanager
def gentle_producer(bootstrap: str, topic: str) -> Iterator[None]:
    """Run the producer while the service runs: a hundred events a second, slightly out of order."""
    words = ["--count", "0", "--rate", "100", "--pattern", "shuffled", "--displacement", "20"]
    command = own_command("produce", *words, "--bootstrap", bootstrap, "--topic", topic)
    producer = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        end(producer)


def demo_topic(settings: Settings) -> str:
    """Return the topic of the first stream of sets. Raises ValueError if no stream of sets reads a topic."""
    topics = [stream.source.topic for stream in settings.streams.values() if stream.step_names and stream.source.topic]
    if not topics:
        raise ValueError("--demo: expected a stream of sets that reads a topic")
    return topics[0]
