"""The sinks of a run. They write to a list of records that outlives the process.

The product has two kinds of sinks that are exactly-once, and so has this file: a sink that is cut back to a checkpoint's
place, as a file is, and a sink whose records are visible once they are committed with a checkpoint's id, as in Kafka.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from actors.messages import Dead
from actors.sinks.sink import Fenced, Refused, Sink, Superseded
from actors.standing import Standing, mark_of
from tests.simulation.faults import CrashError, Faults


class Outlet:
    """The output of all processes of a run. `records` are visible; the first `safe` of them survive a loss of power.

    `committed` is the number of the last commit, and None if Kafka has lost it; `done` is the same, whatever Kafka has lost.
    `last` is the note of the last record: a number and a mark. `epoch` grows with each client: the client before can write nothing more. `refuses` is true while a right is missing. `dead` are the dead letters that Kafka has acknowledged.
    """

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.dead: list[Dead] = []
        self.safe = 0
        self.committed: int | None = None
        self.done: int | None = None
        self.last: tuple[int, str] | None = None
        self.mark: str | None = None
        self.process = ""
        self.epoch = 0
        self.refuses = False
        self._processes = 0

    @property
    def recorded(self) -> bool:
        """Whether Kafka has a note of any commit."""
        return self.committed is not None or self.last is not None

    def begin_process(self) -> str:
        """Return the name of another process."""
        self._processes += 1
        return f"process-{self._processes}"

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
    """Makes its records visible with a checkpoint, and not before. Kafka may forget the number of the last commit.

    Two processes may write to one outlet: the client that connects later fences off the other one.

    Rights are refused for a while now and then: a commit is refused, and every call of a start until the right is granted.
    """

    def __init__(self, outlet: Outlet, faults: Faults) -> None:
        super().__init__(outlet, faults)
        self._process = outlet.begin_process()
        self._owning = False
        self._epoch = 0
        self._open: list[bytes] = []
        self._prepared: int | None = None
        self._lost = False
        self._mark: str | None = None
        self._marks = 0

    def _put(self, records: list[bytes]) -> None:
        if self._faults.strikes("fenced"):
            self._lost = True
        self._check()
        if self._faults.strikes("refused"):
            self._lost = self._outlet.refuses = True
            raise Refused("the right to WRITE")
        self._open += records

    def prepare(self) -> dict[str, Any]:
        self._call()
        self._check()
        if len(self._open) != (self._prepared or 0):
            self._marks += 1
            self._mark = f"{self._process}-{self._marks}"
        self._prepared = len(self._open)
        return {"written": self.written, "topic": "out", "mark": self._mark}

    def commit(self, checkpoint: int) -> None:
        if checkpoint == self._outlet.committed and self._prepared is None:
            return
        assert self._prepared is not None, "prepare first"
        self._call()
        if self._faults.strikes("refused"):
            self._lost = self._outlet.refuses = True
            raise Refused("the right to READ")
        self._check()
        outlet = self._outlet
        outlet.records += self._open[: self._prepared]
        if self._prepared:
            outlet.last = (checkpoint, str(self._mark))
        outlet.committed, outlet.done, outlet.safe = checkpoint, checkpoint, len(outlet.records)
        outlet.mark, outlet.process = self._mark, self._process
        if self._faults.strikes("forgets"):
            outlet.committed = None
        del self._open[: self._prepared]
        self._prepared = None
        self._call()

    def look(self) -> Standing:
        self._call()
        outlet = self._outlet
        if outlet.refuses:
            outlet.refuses = self._faults.strikes("sink")
            raise Refused("the right to READ")
        if self._owning and outlet.process != self._process and outlet.recorded:
            raise Superseded(f"{outlet.process} writes as this data_dir")
        if outlet.committed is None and outlet.last is not None:
            return Standing("out", outlet.last[0], outlet.last[1], process=outlet.process, lost=True)
        return Standing(
            "out", outlet.committed or 0, outlet.mark, process=outlet.process, recorded=outlet.committed is not None
        )

    def committed(self) -> int:
        if self._owning:
            self.look()  # a new client would fence off the process that has taken over
        self._outlet.epoch += 1
        self._epoch, self._lost = self._outlet.epoch, False
        return self.look().checkpoint

    def restore(self, place: Any | None) -> None:
        self._call()
        self._check()
        place = place or {}
        self._open, self._prepared, self._lost = [], None, False
        self.written = self.delivered = place.get("written", 0)
        outlet = self._outlet
        self._mark = outlet.mark = mark_of(place)
        if outlet.committed is None:
            outlet.committed = outlet.last[0] if outlet.last is not None else 0
        outlet.process = self._process
        self._owning = True

    def _check(self) -> None:
        if self._lost or self._epoch != self._outlet.epoch:
            raise Fenced("the transaction is lost")


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
