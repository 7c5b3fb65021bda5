"""The writers: a Kafka topic, a file, the console; and the client that writes what is posted to a stream's own topic.

Used by the publisher and the writer, which know when to write. Each says how many records are safe.
"""

import os
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.messages import Place
from actors.topic import ensure_topic

_BROKER_TIMEOUT_S = 5.0
_LONGEST_RECORD = 64 << 20
_AGAIN_S = 0.05


class Sink(Protocol):
    """Where records go that are due to be published. The publisher owns it."""

    def write(self, blocks: Iterator[bytes]) -> None:
        """Take all records in `blocks`, each ended by a line feed.

        Raises OSError where it can take nothing now, and then has taken nothing of it.
        """

    @property
    def written(self) -> int:
        """Records taken since the start."""

    @property
    def delivered(self) -> int:
        """Records of those that are safe, or given up for good."""

    def poll(self) -> None:
        """Look for news of what is under way. Never waits."""

    def close(self) -> None:
        """Let go; what is not delivered by then is lost to this process."""


class KafkaSink:
    """Writes records to `topic`, created if absent. librdkafka tries again for as long as it takes."""

    def __init__(self, settings: Mapping[str, Any], topic: str, *, on_error: Callable[[str], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._on_error = on_error
        self._producer: Producer | None = None
        self.written = 0
        self.delivered = 0

    def write(self, blocks: Iterator[bytes]) -> None:
        """Hand the records to librdkafka; the first time, see that the topic is there."""
        if self._producer is None:
            ensure_topic(self._settings, self._topic, 1)
            self._producer = Producer(
                {
                    "linger.ms": 5,
                    "enable.idempotence": True,
                    "message.timeout.ms": 0,
                    "queue.buffering.max.messages": 10_000_000,
                    "queue.buffering.max.kbytes": 1 << 20,
                    "log_level": 0,
                    **self._settings,
                    "error_cb": lambda error: self._on_error(error.str()),
                }
            )
        for record in _records(blocks):
            self.written += 1
            try:
                self._producer.produce(self._topic, record, on_delivery=self._settled)
            except KafkaException as error:  # such as a record that is larger than the topic takes
                self._settled(error.args[0], None)

    def poll(self) -> None:
        """Look for acknowledgements."""
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        """Wait a little for what is under way."""
        if self._producer is not None:
            self._producer.flush(_BROKER_TIMEOUT_S)

    def _settled(self, error: KafkaError | None, _: Message | None) -> None:
        self.delivered += 1
        if error is not None:
            self._on_error(f"a record for topic {self._topic} is given up: {error.str()}")


def _records(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks into records; of one longer than any topic takes, a part that is as much too long."""
    begun = bytearray()
    for block in blocks:
        first, *lines = block.split(b"\n")
        begun += first[: _LONGEST_RECORD - len(begun)]
        if lines:
            yield bytes(begun)
            *whole, rest = lines
            yield from whole
            begun = bytearray(rest)


class FileSink:
    """Appends records to a file; at `max_bytes` it is set aside under the next free number, and a new one begun."""

    def __init__(self, path: Path, *, max_bytes: int | None) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._size = 0
        self._starts = array("q")
        self._aside: list[tuple[int, Path]] = []
        self.written = 0

    @property
    def delivered(self) -> int:
        """All that is written: it is with the operating system when `write` returns."""
        return self.written

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and flush. Where that fails, the file is cut back to what it was."""
        file = self._opened()
        began, known = self._size, len(self._starts)
        try:
            start = began
            for block in blocks:
                file.write(block)
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
                for end in (self._size + 1 + ends).tolist():
                    self._starts.append(start)
                    start = end
                self._size += len(block)
            file.flush()
        except Exception:  # the disk's or the view's: either way nothing of it stays, and who called hears of it
            del self._starts[known:]
            self._cut_back(began)
            raise
        self.written += len(self._starts) - known

    def place(self, order: int) -> Place | None:
        """Return where the `order`-th record of this process lies, from 1 on. Cost: O(log files)."""
        if not 1 <= order <= len(self._starts):
            return None
        index = bisect_right(self._aside, order - 1, key=lambda entry: entry[0])
        last, path = self._aside[index] if index < len(self._aside) else (len(self._starts), self._path)
        start = self._starts[order - 1]
        end = self._starts[order] if order < last else self._ends(path)
        return Place(path, start, end - start - 1)

    def poll(self) -> None:
        """Do nothing: what is written is safe."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _ends(self, path: Path) -> int:
        return self._size if path == self._path else path.stat().st_size

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            self._size = self._file.tell()
        if self._max_bytes is not None and self._size >= self._max_bytes:
            self._file.close()
            self._file = None
            number = 1
            while (aside := self._path.with_name(f"{self._path.name}.{number}")).exists():
                number += 1
            self._path.rename(aside)
            self._aside.append((len(self._starts), aside))
            return self._opened()
        return self._file

    def _cut_back(self, size: int) -> None:
        """Make the file as long as it was: what a full disk took of a record must not stay."""
        file, self._file = self._file, None
        self._size = size
        if file is not None:
            with self._path.open("r+b") as again:
                again.truncate(size)
            try:
                file.close()
            except OSError:
                return  # its buffer could not be written, which is known
            with self._path.open("r+b") as again:
                again.truncate(size)


class ConsoleSink:
    """Writes records to standard output. Where nobody reads it any more, that is told, and they go nowhere."""

    def __init__(self, *, on_error: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._read = True
        self.written = 0

    @property
    def delivered(self) -> int:
        """All that is written."""
        return self.written

    def write(self, blocks: Iterator[bytes]) -> None:
        """Write, and flush."""
        try:
            for block in blocks if self._read else ():
                sys.stdout.buffer.write(block)
                self.written += block.count(b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # such as `| head`: trying again would hold everything up for ever
            self._read = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered has nowhere to go
            self._on_error("nobody reads standard output any more")

    def poll(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: standard output is not ours to close."""


Acknowledged = Callable[[str | None, dict[int, int]], None]
"""Takes the reason why not all records were taken, or None; and the last offset by partition."""


class KafkaWriter:
    """Writes what clients post to a stream's own topic, and says when Kafka has all of it. The writer owns it.

    The topic is created with so many `partitions` where it is absent, unless None. A record that is not acknowledged within
    `timeout_s` is given up, and never comes later.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, partitions: int | None, timeout_s: float) -> None:
        self._settings = settings
        self._topic = topic
        self._wanted = partitions
        self._timeout_s = timeout_s
        self._producer = Producer(
            {
                "linger.ms": 2,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
                **settings,
                "message.timeout.ms": int(1000 * timeout_s),
                "error_cb": lambda _: None,
            }
        )
        self._partitions = 0

    def write(self, values: Sequence[bytes], shards: Sequence[int], done: Acknowledged) -> None:
        """Write each value to the partition that its shard says, in the order given. Cost: 2 us a record."""
        count = self._count()
        if not values or not count:
            done(None if count else "the topic has no partitions", {})
            return
        receipt = _Receipt(len(values), done)
        places = np.array(shards, np.int64) % count
        for number in np.unique(places).tolist():
            records: list[dict[str, Any]] = [{"value": value} for value in compress(values, (places == number).tolist())]
            self._producer.produce_batch(self._topic, records, partition=number, on_delivery=receipt)
            refused = [record["_error"] for record in records if "_error" in record]
            for error in refused:
                receipt(error, None)

    def write_to_all(self, key: bytes, value: bytes, done: Acknowledged) -> None:
        """Write one record to every partition."""
        count = self._count()
        if not count:
            done("the topic has no partitions", {})
            return
        receipt = _Receipt(count, done)
        for number in range(count):
            self._producer.produce(self._topic, value, key, number, on_delivery=receipt)

    def poll(self) -> int:
        """Look for acknowledgements; returns how many records are still under way."""
        self._producer.poll(0)
        return len(self._producer)

    def close(self) -> None:
        """Wait a little for what is under way."""
        self._producer.flush(_BROKER_TIMEOUT_S)

    def _count(self) -> int:
        """Return the number of partitions, once the topic is there; 0 where that is not known in time."""
        deadline = time.monotonic() + self._timeout_s
        while not self._partitions and (left := deadline - time.monotonic()) > 0:
            try:
                if self._wanted is not None:
                    ensure_topic(self._settings, self._topic, self._wanted)
                known = self._producer.list_topics(self._topic, timeout=left).topics
            except (KafkaException, OSError):
                return 0
            self._partitions = len(known[self._topic].partitions)
            if not self._partitions:
                time.sleep(min(left, _AGAIN_S))  # a new topic takes a moment; the writer has this thread to itself
        return self._partitions


class _Receipt:
    """Counts down the acknowledgements of one request."""

    def __init__(self, count: int, done: Acknowledged) -> None:
        self._left = count
        self._done = done
        self._error: str | None = None
        self._offsets: dict[int, int] = {}

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        """Take one report."""
        if error is not None:
            self._error = self._error or error.str()
        elif message is not None:
            partition, offset = message.partition(), message.offset()
            assert partition is not None, "a delivered record has a place"
            assert offset is not None, "a delivered record has a place"
            self._offsets[partition] = max(offset, self._offsets.get(partition, -1))
        self._left -= 1
        if not self._left:
            self._done(self._error, self._offsets)


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file among `sinks`: where a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)
