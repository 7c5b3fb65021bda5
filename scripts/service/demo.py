"""The option `--demo`: a gentle producer for all streams, which runs with the service, and commands to try."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping

from config.load import load
from config.settings import Settings
from scripts.brokers.process import end
from scripts.checkout import own_command, typed

SMALL = (
    "streams.events.max_sets=300",
    "streams.segments.max_batches=5",
    "streams.uniques.max_hashes=3000",
    "streams.words.max_pairs=1000",
    "streams.funnel.max_sequences=100",
)
"""Overrides of config/default.yaml for which a minute of the demo has several generations."""

_TRY = """\
open {url} in a browser, or try in another terminal:

{curls}
  curl '{url}/streams'
  {stats}

Ctrl-C ends everything."""

_STEPS = {(), ("R", "G", "B"), ("created", "paid", "shipped")}
"""The steps for which the producer has records: no steps, for views without, and those of the default configuration."""

_OF_SETS = """\
  curl '{url}/{name}/get-stats'
  curl '{url}/{name}/get-sets?startTime=-1m&endTime=now&limit=3'
  curl '{url}/{name}/get-sets?startTime=-1m&endTime=now&limit=3&format=csv'"""


def what_to_try(url: str, settings: Settings) -> str:
    """Return commands that ask the service at `url`, as a user would type them here."""
    names = [name for name, stream in settings.streams.items() if stream.step_names and stream.form is None]
    return _TRY.format(
        url=url, stats=typed("query", "stats"), curls="\n".join(_OF_SETS.format(url=url, name=name) for name in names)
    )


@contextlib.contextmanager
def gentle_producer(bootstrap: str, topics: Mapping[str, str]) -> Iterator[None]:
    """Run the producer while the service runs. `topics` has the view of each topic; they exist when this is entered.

    Raises OSError if the producer does not start.
    """
    words = [word for topic, view in topics.items() for word in ("--happening", f"{view}={topic}")]
    command = own_command("produce", *words, "--bootstrap", bootstrap)
    producer = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        if producer.stdout is None or not producer.stdout.readline():
            raise OSError("--demo: the producer did not start, see above")
        yield
    finally:
        end(producer)
        if producer.stdout is not None:
            producer.stdout.close()


def demo_topics(settings: Settings) -> dict[str, str]:
    """Return the view of each topic that a stream reads in a form of the default configuration.

    Raises ValueError without any.
    """
    forms = [None, *(stream.form for stream in load(None, [], {}).streams.values())]
    topics = {
        stream.source.topic: stream.view
        for stream in settings.streams.values()
        if stream.source.topic and stream.form in forms and stream.step_names in _STEPS
    }
    if not topics:
        raise ValueError("--demo: expected a stream that reads a topic in its view's own form, such as those without --config")
    return topics
