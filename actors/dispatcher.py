"""The threads that actors run on, and the clock that they see. A thousand aged actors cost no thread.

Made by the composition root; an actor with something to do is a task here. Modelled on Akka's dispatcher.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[], None]


class Dispatcher:
    """Runs tasks on `threads` threads, and later ones when their time has come. Thread-safe.

    A task must not raise: the actor base catches what its actor raises.
    """

    def __init__(self, *, threads: int = 4) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._later: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        names = [(f"actors-{number}", self._work) for number in range(threads)] + [("actors-timer", self._watch)]
        self._threads = [threading.Thread(target=target, name=name, daemon=True) for name, target in names]
        for thread in self._threads:
            thread.start()

    def now(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since 1970, for people to read; it may jump."""
        return time.time()

    def submit(self, task: Task) -> None:
        """Run `task` on one of the threads, soon."""
        self._tasks.put(task)

    def later(self, seconds: float, task: Task) -> None:
        """Run `task` on one of the threads once `seconds` have passed."""
        with self._changed:
            heapq.heappush(self._later, (self.now() + seconds, next(self._order), task))
            self._changed.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Let running tasks end, and drop the later ones. Waits at most `timeout_s` in all."""
        deadline = self.now() + timeout_s
        with self._changed:
            self._closed = True
            self._changed.notify()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - self.now()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if not self._later:
                    self._changed.wait()
                    continue
                remaining = self._later[0][0] - self.now()
                if remaining > 0:
                    self._changed.wait(remaining)
                else:
                    self._tasks.put(heapq.heappop(self._later)[2])
