"""A shelf of this process: the actor that holds generations, and the thread that reads them from the topic."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException

from actors.cluster.shelves.messages import Put, Reached, ShelfMessage
from actors.columns import snapshot
from actors.messages import Recover
from actors.protocol import Address, delivered
from actors.views.view import View
from scripts.service.cluster.checkpoints.copies import Topic
from scripts.service.cluster.generations.entry import CLAIM, Entry, digest_of, name_in
from scripts.service.cluster.generations.outbox import KIND
from scripts.service.cluster.generations.reading import Partition

_LOOK_S = 30.0
_AGAIN_S = 1.0
_JOIN_S = 5.0


class ShelfReader:
    """Reads the partition `shard` of a topic for the actor `shelf`, on a thread of its own.

    It is the `Reading` of the shard: it has caught up once the end was reached. `complain` gets each problem.
    """

    news_at = float("-inf")
    """No record that clients know of comes to a shelf."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: Topic,
        shard: int,
        view: View,
        shelf: Address[ShelfMessage | Recover],
        complain: Callable[[str], object],
    ) -> None:
        self._settings = dict(settings)
        self._topic = topic
        self._shard = shard
        self._view = view
        self._shelf = shelf
        self._complain = complain
        self._caught_up_at: float | None = None
        self._pieces: dict[str, list[bytes]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"shelf-{shard}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the thread has ended, at most 5 s."""
        self._ended.set()
        self._thread.join(_JOIN_S)

    def caught_up_at(self) -> float | None:
        """See `Reading`."""
        return self._caught_up_at

    def whole_at(self, taken_at: float) -> float | None:
        """See `Reading`."""
        return taken_at

    def _run(self) -> None:
        told = False
        while not self._ended.is_set():
            try:
                with Partition(self._settings, self._topic.name, self._shard, self._topic.group) as partition:
                    self._read(partition)
                told = False
            except (OSError, KafkaException) as error:
                if not told:
                    self._complain(f"a shelf cannot read its generations: {error}")
                told = True
                self._ended.wait(_AGAIN_S)

    def _read(self, partition: Partition) -> None:
        """Read until the end of this shard. Begins anew from the first record: what is held already is left as it is."""
        self._pieces.clear()
        since, looked_at, reached = 0, -_LOOK_S, -1
        while not self._ended.is_set():
            for message in partition.read():
                self._take(message.key() or b"", message.value() or b"", int(message.offset() or 0))
            if time.monotonic() - looked_at >= _LOOK_S:
                since, looked_at, reached = partition.since(), time.monotonic(), -1
            if partition.until != reached:
                reached = partition.until
                delivered(self._shelf, Reached(since, reached))
            if partition.ended and self._caught_up_at is None:
                self._caught_up_at = time.monotonic()

    def _take(self, key: bytes, value: bytes, offset: int) -> None:
        """Take a record: a piece, or the entry that ends a generation."""
        if (of := name_in(key)) is not None:
            self._pieces.setdefault(of, []).append(value)
            return
        if key == CLAIM:
            return
        entry = Entry.of(value, self._topic.secret)
        pieces, self._pieces = self._pieces, {}
        if entry is None or entry.partition != self._shard:
            self._complain("a record of no process with the secret of this cluster is in the topic of the shelves")
            return
        data = b"".join(pieces.get(entry.name, ()))
        try:
            if len(data) != entry.nbytes or digest_of(data) != entry.sha256:
                raise ValueError("not all of its records are there")  # noqa: TRY301
            frozen = self._view.thaw(snapshot.read(KIND, data))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            self._complain(f"generation {entry.number} cannot be read from the topic of the shelves: {error}")
            return
        delivered(self._shelf, Put(entry.name, entry.number, offset, entry.nbytes, frozen))
