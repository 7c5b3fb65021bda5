"""The sources, sinks and writers of a stream, made from its stanza. Opens no connection except librdkafka's own."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.sinks.console import ConsoleSink
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.file.sink import FileSink
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.sink import Sink
from actors.sources.command import CommandSource
from actors.sources.kafka.fetch import How
from actors.sources.kafka.source import KafkaSource
from actors.sources.line_file import file_source
from actors.sources.lines import stdin_source
from actors.sources.source import Source as Reader
from config.streams import Output, Source, Stream
from scripts.checkout import own_command

_QUIET_S = 30.0
_QUIETEST_S = 3_600.0
_POST_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Logged:
    """When a text was logged and when it came last, on the monotonic clock, and how long it is not repeated."""

    at: float
    heard_at: float
    quiet_s: float


class Complaints:
    """Logs the problems of one stream, each text once. `on_failure` gets the stream and a failure of its input.

    A text that comes again and again is repeated after 30 s, a minute, two minutes and so on, at most once an hour.
    """

    def __init__(self, stream: str, log: Callable[..., object], on_failure: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._log = log
        self._on_failure = on_failure
        self._logged: dict[str, _Logged] = {}

    def __call__(self, text: str) -> None:
        """Log `text`, unless it was logged a short time ago."""
        now = time.monotonic()
        self._logged = {each: logged for each, logged in self._logged.items() if now - logged.heard_at < logged.quiet_s}
        before = self._logged.get(text)
        if before is not None:
            before.heard_at = now
            if now - before.at < before.quiet_s:
                return
        quiet_s = _QUIET_S if before is None else min(2 * before.quiet_s, _QUIETEST_S)
        self._logged[text] = _Logged(now, now, quiet_s)
        self._log("trouble", stream=self._stream, problem=text)

    def __contains__(self, text: str) -> bool:
        """Whether `text` was logged, and is not forgotten yet."""
        return text in self._logged

    def fail(self, problem: str) -> None:
        """Report that the input of the stream has ended with a failure."""
        self._on_failure(self._stream, problem)

    def hear(self, line: str) -> None:
        """Log a line that a command wrote to its standard error."""
        self._log("command says", stream=self._stream, line=line)


def reader(name: str, source: Source, kafka: Mapping[str, Any], *, how: How, once: bool, complain: Complaints) -> Reader:
    """Make the source of stream `name`. `how` records of Kafka are read: see `fetch`.

    In a command, the first word `python` is this interpreter, and `firnline` is this program.
    """
    if source.file is not None:
        if once:
            _check_file(source.file)
        return file_source(source.file, once=once, on_error=complain, on_failure=complain.fail if once else complain)
    if source.stdin:
        return stdin_source(on_error=complain, steady=once)
    if source.command is not None:
        first, *words = shlex.split(source.command)
        command = {"python": [sys.executable], "firnline": own_command()}.get(first, [first]) + words
        if once and shutil.which(command[0]) is None:
            raise ValueError(f"{command[0]}: expected a command to run, got nothing that is one")
        return CommandSource(command, once=once, on_line=complain.hear, on_error=complain, on_failure=complain.fail)
    settings = {"group.id": f"firnline-{name}", **kafka}
    return KafkaSource(
        settings,
        str(source.topic),
        start=source.start,
        partitions=source.partitions,
        skips_damage=source.on_damage == "skip",
        how=how,
        on_error=complain,
    )


def _check_file(path: Path) -> None:
    """Raise ValueError unless the file can be opened and read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"{path}: expected a file to read, got: {error.strerror}") from None


def writer(source: Source, kafka: Mapping[str, Any]) -> KafkaWriter:
    """Make the client that writes to a stream's own topic."""
    return KafkaWriter(kafka, str(source.topic), partitions=source.partitions, timeout_s=_POST_TIMEOUT_S)


def dead_letters(stream: Stream, kafka: Mapping[str, Any], complain: Complaints) -> DeadLetterSink | None:
    """Make the sink of a stream's dead letters; None if it has no topic for them."""
    if stream.dead_letters is None:
        return None
    return DeadLetterSink(kafka, stream.dead_letters, origin=str(stream.source.topic or ""), on_error=complain)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose results are in a topic: the transactional id (None: no transactions), and the name of the folder of checkpoints.

    A commit comes every `every_s` seconds. `force`: begin although the topic has results that no checkpoint has.
    """

    owner: str | None
    folder: str
    every_s: float
    force: bool


def sinks(output: Output, kafka: Mapping[str, Any], ownership: Ownership, complain: Complaints) -> list[Sink]:
    """Make the sinks of a stream."""
    made: list[Sink] = []
    if output.console:
        made.append(ConsoleSink(on_error=complain))
    if output.file is not None:
        made.append(FileSink(output.file, max_bytes=output.max_file_bytes, on_error=complain))
    if output.topic is not None:
        made.append(
            KafkaSink(
                kafka,
                output.topic,
                transactional_id=ownership.owner,
                key=output.key,
                meaning=ownership.folder,
                every_s=ownership.every_s,
                force=ownership.force,
                on_error=complain,
            )
        )
    return made
