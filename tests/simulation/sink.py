"""The sinks of a run. They write to a list of records that outlives the process.

The product has two kinds of sinks that are exactly-once, and so has this file: a sink that is cut back to a checkpoint's
place, as a file is, and a sink whose records are visible once they are committed with a checkpoint's id, as in Kafka.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from actors.messages import Dead
from actors.sinks.sink import Fenced, Sink
from tests.simulation.faults import CrashError, Faults


class Outlet:
    """The output of all processes of a run. `records` are visible; the first `safe` of them survive a loss of power.

    `dead` are the dead letters that Kafka has acknowledged.
    """

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.dead: list[Dead] = []
        self.safe = 0
        self.committed = 0

    def lose_power(self, chance: random.Random) -> None:
        """Lose some of the newest unsafe records, by chance."""
        del self.records[chance.randint(self.safe, len(self.records)) :]


class _SimulatedSink(Sink):
    """The base of both kinds. Written records are delivered; `delivered` counts them with some delay."""

    delivered = 0

    def __init__(self, outlet: Outlet, faults: Faults) -> None:
        self._outlet = outlet
        self._faults = faults

    def write(self, blocks: Iterator[bytes]) -> None:
        if self._faults.strikes("sink"):
            next(blocks, None)
            raise OSError("the sink is down")
        *records, rest = b"".join(blocks).split(b"\n")
        assert not rest, "a line feed ends each record"
        self.written += len(records)
        self._put(records)

    def poll(self) -> None:
        if not self._faults.strikes("slow sink"):
            self.delivered = self.written

    def _put(self, records: list[bytes]) -> None:
        raise NotImplementedError

    def _call(self) -> None:
        if self._faults.strikes("crash"):
            raise CrashError
        if self._faults.strikes("sink"):
            raise OSError("the sink is away")


class FileLikeSink(_SimulatedSink):
    """Is cut back to the place of a checkpoint."""

    def _put(self, records: list[bytes]) -> None:
        self._outlet.records += records

    def prepare(self) -> list[int]:
        self._call()
        self._outlet.safe = len(self._outlet.records)
        return [self._outlet.safe, self.written]

    def restore(self, place: Any | None) -> None:
        self._call()
        if place is None:
            return
        size, written = place
        assert size <= len(self._outlet.records), "results of a checkpoint are missing"
        del self._outlet.records[size:]
        self._outlet.safe = size
        self.written = self.delivered = written


class TransactionalSink(_SimulatedSink):
    """Makes its records visible with a checkpoint, and not before."""

    def __init__(self, outlet: Outlet, faults: Faults) -> None:
        super().__init__(outlet, faults)
        self._open: list[bytes] = []
        self._prepared: int | None = None
        self._lost = False

    def _put(self, records: list[bytes]) -> None:
        if self._lost or self._faults.strikes("fenced"):
            self._lost = True
            raise Fenced("the transaction is lost")
        self._open += records

    def prepare(self) -> int:
        self._call()
        self._prepared = len(self._open)
        return self.written

    def commit(self, checkpoint: int) -> None:
        if checkpoint == self._outlet.committed:
            return
        assert self._prepared is not None, "prepare first"
        self._call()
        self._outlet.records += self._open[: self._prepared]
        self._outlet.committed, self._outlet.safe = checkpoint, len(self._outlet.records)
        del self._open[: self._prepared]
        self._prepared = None
        self._call()

    def committed(self) -> int:
        self._call()
        return self._outlet.committed

    def restore(self, place: Any | None) -> None:
        self._call()
        self._open, self._prepared, self._lost = [], None, False
        self.written = self.delivered = place or 0


class SimulatedDeadLetterSink:
    """Replaces `actors.sinks.dead_letters.DeadLetterSink`: a client with a queue of `room` records, and a broker."""

    room = 5
    lost = 0

    def __init__(self, outlet: Outlet, faults: Faults) -> None:
        self._outlet = outlet
        self._faults = faults
        self._held: deque[Dead] = deque()
        self._queue: deque[Dead] = deque()
        self.written = self.delivered = 0

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def unacknowledged(self) -> int:
        return len(self._held) + len(self._queue)

    def write(self, records: Iterable[Dead]) -> None:
        records = list(records)
        self._held.extend(records)
        self.written += len(records)

    def poll(self) -> None:
        if not self._faults.strikes("dead letters"):
            self._acknowledge()
        while self._held and len(self._queue) < self.room:
            self._queue.append(self._held.popleft())

    def secure(self) -> bool:
        if self._faults.strikes("crash"):
            raise CrashError
        while self.unacknowledged:
            if self._faults.strikes("dead letters"):
                return False
            self.poll()
        return True

    def close(self) -> None:
        pass

    def _acknowledge(self) -> None:
        self._outlet.dead += self._queue
        self.delivered += len(self._queue)
        self._queue.clear()
