"""Code that blocks, such as the leases of a process, in a simulated world: on a thread that runs only while the world waits."""

from collections.abc import Callable
from threading import Semaphore, Thread

from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import CrashError


class Fibre:
    """Runs `work` piece by piece: from one `pause` in it to the next. So one thread runs at a time, in the order of the seed."""

    def __init__(self, work: Callable[[], None], clock: SimulatedClock) -> None:
        self.due = clock.now()
        """The time until which it pauses."""
        self.ended = False
        self._work = work
        self._clock = clock
        self._go, self._back = Semaphore(0), Semaphore(0)
        self._doomed = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Run the next piece. Raises what `work` has raised."""
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def pause(self, seconds: float) -> None:
        """Let the world go on for some time. Called by `work`."""
        self.due = self._clock.now() + seconds
        self._back.release()
        self._wait()

    def kill(self) -> None:
        """End `work` where it pauses."""
        self._doomed = True
        while not self.ended:
            self.resume()

    def _wait(self) -> None:
        self._go.acquire()
        if self._doomed:
            raise CrashError

    def _run(self) -> None:
        try:
            self._wait()
            self._work()
        except CrashError:
            pass
        except BaseException as error:  # noqa: BLE001  # the thread of the world raises it
            self._error = error
        self.ended = True
        self._back.release()
