"""What a matcher writes to the topic of its generations, on a thread of its own, and what it knows to be there.

Each generation is one transaction, with the generation of the lease group. Kafka refuses it if the lease of shard 0 has moved
meanwhile, so a matcher that was frozen publishes none. A new matcher ends what is under way, and reads the list in partition 0.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from confluent_kafka import Consumer

from actors.columns import snapshot
from actors.columns.snapshot import State
from scripts.service.cluster.checkpoints.copies import Topic
from scripts.service.cluster.checkpoints.fence import Claim, PassedError, Writer
from scripts.service.cluster.generations.entry import CLAIM, Entry, digest_of, piece_key
from scripts.service.cluster.generations.reading import Partition, low_of

_AGAIN_S = 0.2
_LOOK_S = 30.0
_PATIENCE_S = 10.0
"""After so long without success, a generation counts as hindered: then memory that is short drops it."""

_MOST = 4_096
"""Generations that wait, at most."""

_MOST_BYTES = 16 << 20
"""A transaction begins no further generation once it has more bytes."""

KIND = "generation"


class Outbox:
    """Publishes the generations of one matcher to `topic`. `claim` returns the group's metadata while it has shard 0.

    `shelf_of` returns the partition of a generation by its number. `log` gets an event and its facts, `complain` each problem.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: Topic,
        claim: Claim,
        *,
        shelf_of: Callable[[int], int],
        log: Callable[..., object],
        complain: Callable[[str], object],
    ) -> None:
        self._settings = dict(settings)
        self._topic = topic
        self._claim = claim
        self._shelf_of = shelf_of
        self._log = log
        self._complain = complain
        self._queue: deque[tuple[str, int, State]] = deque()
        self._names: dict[str, str] = {}
        self._slips: dict[str, tuple[int, int]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._lows: dict[int, int] = {}
        self._well_at = time.monotonic()
        self._told = False
        self._looked_at = 0.0
        self._writer: Writer | None = None
        self._ended = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generations", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Write nothing more. Does not wait for a transaction that is under way."""
        self._ended.set()
        self._news.set()

    # On any thread ---------------------------------------------------------------------------------------------------

    def take(self, file: str, state: State) -> None:
        """Note what is in a file: a generation, which is to be published, or the slip of one."""
        name, number, slip = str(state["name"]), int(state["number"]), state["slip"]
        self._names[file] = name
        if slip is not None:
            self._slips[file] = self._shelf_of(number), int(slip[2])
        elif name not in self._places:
            self._queue.append((name, number, state))
            self._news.set()
            if len(self._queue) > _MOST:
                self._queue.clear()
                self._complain(f"{_MOST} generations could not be published in time, and stay in memory until a restart")

    def forget(self, files: Iterable[str]) -> None:
        """Forget files that are deleted."""
        for file in files:
            self._names.pop(file, None)
            self._slips.pop(file, None)

    def place_of(self, name: str) -> int | None:
        """Return the offset at which the record of a generation ends, by its name; None if the topic does not have it."""
        partition, at = self._places.get(name, (0, -1))
        return at if at >= self._lows.get(partition, 0) else None

    def has(self, file: str) -> bool:
        """See `actors.cluster.shelves.messages.Shelved`."""
        name = self._names.get(file)
        return name is not None and self.place_of(name) is not None

    def comes(self, file: str) -> bool:
        """See the protocol."""
        name = self._names.get(file)
        return name is not None and name not in self._places and time.monotonic() - self._well_at < _PATIENCE_S

    def gone(self, file: str) -> bool:
        """See the protocol."""
        partition, at = self._slips.get(file, (0, 0))
        return file in self._slips and at < self._lows.get(partition, 0)

    # On the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._step()
                self._well_at, self._told = time.monotonic(), False
            except PassedError:  # the group has a new generation, which this process is about to learn
                self._abort()
                self._ended.wait(_AGAIN_S)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
                self._drop_writer()
                if time.monotonic() - self._well_at > _PATIENCE_S and not self._told:
                    self._told = True
                    reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                    self._complain(f"generations are not in the topic of the shelves, and stay in memory: {reason}")
                self._ended.wait(_AGAIN_S)
        self._drop_writer()

    def _step(self) -> None:
        """Publish the next generation; without one, wait for a moment."""
        writer = self._ensure_writer()
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._look()
        if not self._queue:
            self._news.wait(1.0)
            self._news.clear()
            return
        self._publish(writer)

    def _publish(self, writer: Writer) -> None:
        """Write the first generations that wait, and the list of them to partition 0, as one transaction."""
        entries: list[tuple[Entry, list[int]]] = []
        count = nbytes = 0
        writer.begin()
        for name, number, state in list(self._queue):
            count += 1
            if name not in self._places:
                entries.append(self._write(writer, name, number, state))
                nbytes += entries[-1][0].nbytes
            if nbytes > _MOST_BYTES:
                break
        writer.flush()
        listed: list[int] = []
        for entry, at in entries:
            writer.write(*msgspec.structs.replace(entry, at=at[0]).record(self._topic.secret), listed.append)
        writer.flush()
        writer.commit(max(listed, default=0))
        for entry, at in entries:
            self._places[entry.name] = entry.partition, at[0]
        with contextlib.suppress(IndexError):  # there were too many, and all are forgotten
            for _ in range(count):
                self._queue.popleft()
        self._log("generations on shelves", numbers=[entry.number for entry, _ in entries], bytes=nbytes)

    def _write(self, writer: Writer, name: str, number: int, state: State) -> tuple[Entry, list[int]]:
        """Write a generation and its entry to the partition of its shelf. The list has the entry's offset after a flush."""
        data = bytearray()
        snapshot.write(KIND, state, data.extend)
        partition, size, view = self._shelf_of(number), self._topic.piece_bytes, memoryview(data)
        starts = range(0, len(data), size)
        for piece, start in enumerate(starts):
            writer.write(piece_key(name, piece), bytes(view[start : start + size]), partition=partition)
        entry = Entry(name, number, partition, len(starts), len(data), digest_of(data))
        at: list[int] = []
        writer.write(*entry.record(self._topic.secret), at.append, partition=partition)
        return entry, at

    def _ensure_writer(self) -> Writer:
        """Return the writer. Its first transaction ends all earlier ones, and then the list is read."""
        if self._writer is not None:
            return self._writer
        claimed: list[int] = []
        writer = Writer(self._settings, self._topic.name, 0, self._claim, self._ended.is_set)
        try:
            writer.begin()
            writer.write(CLAIM, b"", claimed.append)
            writer.flush()
            writer.commit(claimed[0])
            with Partition(self._settings, self._topic.name, 0, self._topic.group) as list_of:
                for message in list_of.before(claimed[0], self._ended.is_set):
                    entry = Entry.of(message.value() or b"", self._topic.secret)
                    if entry is not None and entry.at is not None:
                        self._places[entry.name] = entry.partition, entry.at
        except Exception:
            writer.close()
            raise
        self._writer = writer
        return writer

    def _abort(self) -> None:
        """End the transaction, so that it can be tried again. A new writer would end those of a new matcher."""
        try:
            if self._writer is not None:
                self._writer.abort()
        except OSError:
            self._drop_writer()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _look(self) -> None:
        """Look where the partitions of the shelves begin now, and forget what is no longer there."""
        own = {"group.id": self._topic.group, "enable.auto.commit": False, "log_level": 0}
        consumer = Consumer({**self._settings, **own})
        try:
            places = [*list(self._places.values()), *list(self._slips.values())]  # another thread adds slips
            for partition in {partition for partition, _ in places}:
                self._lows[partition] = low_of(consumer, self._topic.name, partition)
        finally:
            consumer.close()
        self._looked_at = time.monotonic()
        for name in [name for name, (partition, at) in self._places.items() if at < self._lows.get(partition, 0)]:
            del self._places[name]
