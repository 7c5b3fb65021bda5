"""The threads that actors run on, and their clock.

An actor with waiting messages is a task here. A "home" is the name of a thread; each home has one thread, which several actors
can share. An actor that may wait for a broker or a disk has a home of its own. Modelled on Akka's dispatchers.

A thread that has nothing to do sleeps until its own next delayed task is due. No other thread wakes it for that.
"""

import contextlib
import heapq
import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

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


class _Home:
    """The tasks of one home, in order, and those for later, the earliest first. Its thread alone calls `get`."""

    __slots__ = ("_later", "_lock", "_order", "_tasks", "_wakes_at")

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._later: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._wakes_at = -math.inf

    def put(self, task: Task | None) -> None:
        """Add a task, or None: the thread ends there."""
        self._tasks.put(task)

    def put_later(self, at: float, task: Task) -> None:
        """Add a task for the moment `at`. The thread is woken if it would sleep for longer."""
        with self._lock:
            heapq.heappush(self._later, (at, next(self._order), task))
            oversleeps = at < self._wakes_at
        if oversleeps:
            self._tasks.put(_look)

    def get(self, now: Callable[[], float]) -> Task | None:
        """Return the next task, once there is one; None if the thread is to end."""
        while True:
            wait_s = self._until_next(now)
            try:
                return self._tasks.get(timeout=wait_s)
            except Empty:
                continue
            finally:
                self._wakes_at = -math.inf  # it looks again before it sleeps

    def _until_next(self, now: Callable[[], float]) -> float | None:
        """Move the tasks that are due to the others, and return the seconds until the next one is, None without one."""
        with self._lock:
            later = self._later
            while later:
                at, _, task = later[0]
                if not _is_cancelled(task):
                    if (wait_s := at - now()) > 0:
                        self._wakes_at = at
                        return wait_s
                    self._tasks.put(task)
                heapq.heappop(later)
            self._wakes_at = math.inf
            return None


def _look() -> None:
    """Do nothing: the thread has woken, and looks when its next delayed task is due."""


class Dispatcher:
    """Runs tasks: those of one home in order on one thread, delayed ones at their time. Thread-safe.

    A task must not raise. The base class of actors catches the exceptions of its actor.

    The threads of `YIELDING_HOMES` have a lower priority on Linux, and so have the threads and processes that they start.
    Elsewhere a priority belongs to a whole process, and stays as it is.
    """

    def __init__(self) -> None:
        self._homes: dict[str, _Home] = {}
        self._began: dict[str, float] = {}
        self._worked: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._lent: str | None = None
        self._lent_to: int | None = None

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since 1970, for display only: the system clock may jump."""
        return time.time()

    def submit(self, task: Task, home: str) -> None:
        """Run `task` on the thread of `home`, after the tasks that wait there; at once, if the home is lent to this thread."""
        if home == self._lent and threading.get_ident() == self._lent_to:
            self._lent = None  # what this task submits goes to the home's thread, so that it takes this one for one turn only
            try:
                task()
            finally:
                self._lent = home
            return
        tasks = self._homes.get(home)
        if tasks is None:
            self._open(home, task)
        else:
            tasks.put(task)

    def lend(self, home: str | None) -> None:
        """Let the calling thread run the tasks of `home` that it submits itself, at once. None takes the home back.

        This saves two changes of threads. The tasks of the home must never wait, and must not need to run one after the other:
        an actor's mailbox lets one turn of it run at a time, on whatever thread. One home is lent, to one thread. Not for use
        within a task.
        """
        self._lent, self._lent_to = None, threading.get_ident()
        self._lent = home

    def later(self, seconds: float, task: Task, home: str) -> None:
        """Run `task` on the thread of `home` once `seconds` have passed. One that is cancelled by then wakes no thread."""
        (self._homes.get(home) or self._open(home)).put_later(self.now() + seconds, task)

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
        with self._lock:
            self._closed = True
            for tasks in self._homes.values():
                tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - self.now()))

    def _open(self, home: str, *first: Task) -> _Home:
        """Start the thread of a new home with its first task; unless another thread has, which just adds the task.

        If the dispatcher is closed already, the thread ends after this task.
        """
        with self._lock:
            tasks, opened = self._homes.get(home), False
            if tasks is None:
                tasks, opened = _Home(), True
                self._homes[home] = tasks
                self._threads.append(threading.Thread(target=self._work, args=(home, tasks), name=home, daemon=True))
                self._threads[-1].start()
            for task in first:
                tasks.put(task)
            if opened and self._closed:
                tasks.put(None)
            return tasks

    def _work(self, home: str, tasks: _Home) -> None:
        if sys.platform == "linux" and home.endswith(_YIELDING):
            with contextlib.suppress(PermissionError):  # a sandbox may forbid it; then queries wait longer
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        while (task := tasks.get(self.now)) is not None:
            self._began[home] = self.now()
            task()
            self._began[home] = 0.0
            self._worked[home] = time.thread_time()


def _is_cancelled(task: Task) -> bool:
    return isinstance(task, Timer) and task.cancelled
