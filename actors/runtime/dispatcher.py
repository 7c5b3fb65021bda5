"""The threads that actors run on, and their clock.

An actor with waiting messages is a task here. A "home" is the name of a thread; each home has one thread, which several actors
can share. An actor that may wait for a broker or a disk has a home of its own. Modelled on Akka's dispatchers.
"""

import contextlib
import heapq
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from actors.protocol import YIELDING_HOMES

Task = Callable[[], None]

_YIELDING = tuple(home.of("") for home in YIELDING_HOMES)

_NICER = 5
"""What a yielding thread adds to its nice value. A busy thread of the usual priority leaves it a quarter of a processor."""


class Timer:
    """A task for later that may be cancelled. What it needs is freed then. Thread-safe.

    >>> found = []
    >>> one, two = Timer(lambda: found.append(1)), Timer(lambda: found.append(2))
    >>> one.cancel()
    >>> one(), two(), found
    (None, None, [2])
    """

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task: Task | None = task

    def __call__(self) -> None:
        """Do the task, unless it is cancelled."""
        task = self._task
        if task is not None:
            task()

    def cancel(self) -> None:
        """Do nothing later. No effect on a task that has begun."""
        self._task = None

    @property
    def cancelled(self) -> bool:
        """Whether it does nothing."""
        return self._task is None


class Dispatcher:
    """Runs tasks: those of one home in order on one thread, delayed ones at their time. Thread-safe.

    A task must not raise. The base class of actors catches the exceptions of its actor.

    The threads of `YIELDING_HOMES` have a lower priority on Linux, and so have the threads and processes that they start.
    Elsewhere a priority belongs to a whole process, and stays as it is.
    """

    def __init__(self) -> None:
        self._homes: dict[str, SimpleQueue[Task | None]] = {}
        self._began: dict[str, float] = {}
        self._worked: dict[str, float] = {}
        self._later: list[tuple[float, int, str, Task]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._watch, name="timer", daemon=True)]
        self._threads[0].start()

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since 1970, for display only: the system clock may jump."""
        return time.time()

    def submit(self, task: Task, home: str) -> None:
        """Run `task` on the thread of `home`, after the tasks that wait there."""
        tasks = self._homes.get(home)
        if tasks is None:
            self._open(home, task)
        else:
            tasks.put(task)

    def later(self, seconds: float, task: Task, home: str) -> None:
        """Run `task` on the thread of `home` once `seconds` have passed. One that is cancelled by then wakes no thread."""
        with self._changed:
            entry = (self.now() + seconds, next(self._order), home, task)
            heapq.heappush(self._later, entry)
            if self._later[0] is entry:  # else the thread wakes before this one is due
                self._changed.notify()

    def busy(self) -> dict[str, float]:
        """Return for each home the seconds that its thread has spent on its present task, 0 if it waits for one."""
        now = self.now()
        return {home: max(0.0, now - began) if began else 0.0 for home, began in self._began.copy().items()}

    def worked(self) -> dict[str, float]:
        """Return for each home the seconds of CPU that its thread has taken for the tasks that it has ended."""
        return self._worked.copy()

    def close(self, timeout_s: float = 5.0) -> None:
        """Finish the submitted tasks, and drop the delayed ones. Waits at most `timeout_s` in all."""
        deadline = self.now() + timeout_s
        with self._changed:
            self._closed = True
            self._changed.notify()
            for tasks in self._homes.values():
                tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - self.now()))

    def _open(self, home: str, task: Task) -> None:
        """Start the thread of a new home with its first task; unless another thread has, which just adds the task.

        If the dispatcher is closed already, the thread ends after this task.
        """
        with self._changed:
            tasks = self._homes.get(home)
            if tasks is not None:
                tasks.put(task)
                return
            tasks = self._homes[home] = SimpleQueue()
            tasks.put(task)
            if self._closed:
                tasks.put(None)
            thread = threading.Thread(target=self._work, args=(home, tasks), name=home, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, home: str, tasks: SimpleQueue[Task | None]) -> None:
        if sys.platform == "linux" and home.endswith(_YIELDING):
            with contextlib.suppress(PermissionError):  # a sandbox may forbid it; then queries wait longer
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        while (task := tasks.get()) is not None:
            self._began[home] = self.now()
            task()
            self._began[home] = 0.0
            self._worked[home] = time.thread_time()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                while self._later and _is_cancelled(self._later[0][3]):
                    heapq.heappop(self._later)
                if not self._later:
                    self._changed.wait()
                    continue
                remaining = self._later[0][0] - self.now()
                if remaining > 0:
                    self._changed.wait(remaining)
                else:
                    _, _, home, task = heapq.heappop(self._later)
                    self.submit(task, home)


def _is_cancelled(task: Task) -> bool:
    return isinstance(task, Timer) and task.cancelled
