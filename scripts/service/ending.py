"""The end of a run: signals that ask for it, and the drain of all streams."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Container
from queue import Empty, SimpleQueue
from typing import Any

from actors.messages import Drained, GuardianMessage
from actors.protocol import Address
from actors.replies import Busy
from actors.runtime.actor import System
from actors.stream import Running, drain
from gateway.wire.server import Server

SUPERSEDED = 75
"""The exit code if another process writes, or may write, as this data_dir. A restart cannot help: a person has to decide."""

_DRAIN_S = 10.0
_GIVEN_UP_S = 1.0
_CLOSE_S = 8.0
_CONSOLE = "/dev/tty"


class Stopping:
    """Ends the server at the first SIGTERM or SIGINT, and the process at the second. Made on the main thread.

    A signal that comes before `attach` ends the server at `attach`.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._server: Server | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def attach(self, server: Server) -> None:
        """End this server at the first signal, or at once if it has come already."""
        self._server = server
        if self._signals:
            server.should_exit = True

    def _on_signal(self, number: int, _: object) -> None:
        # While uvicorn runs it takes the first signal itself, and raises it again once the port is closed.
        self._signals += 1
        if self._server is not None:
            self._server.should_exit = True
        if self._signals > 1:
            sys.stderr.write("stopped at once\n")
            os._exit(128 + number)


class Hangup:
    """Calls a reload at SIGHUP, or `end` if the process had a terminal at its start, and the terminal is gone.

    Made on the main thread. A SIGHUP that comes before `attach` has its effect at `attach`.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._had_terminal = _has_terminal()
        self._reload: Callable[[], None] | None = None
        self._came = False
        signal.signal(signal.SIGHUP, self._on_signal)

    def attach(self, reload: Callable[[], None]) -> None:
        """Call `reload` at each SIGHUP, on a thread of its own, because a signal handler must not wait."""
        self._reload = reload
        if self._came:
            self._start(reload)

    def _on_signal(self, *_: object) -> None:
        if self._had_terminal and not _has_terminal():
            self._end()
        elif self._reload is None:
            self._came = True
        else:
            self._start(self._reload)

    @staticmethod
    def _start(reload: Callable[[], None]) -> None:
        threading.Thread(target=reload, name="reload", daemon=True).start()


def _has_terminal() -> bool:
    """Whether the process has a terminal that it can open."""
    try:
        os.close(os.open(_CONSOLE, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def stop(
    system: System, running: dict[str, Running], guardian: Address[GuardianMessage], log: Any, given_up: Container[str] = ()
) -> None:
    """Drain all streams at the same time, then stop the actors and their threads. Takes at most 18 s.

    A stream that was `given_up` may wait for a recovery that does not come, so it gets one second to drain.
    """
    drained: dict[str, SimpleQueue[Drained | Busy]] = {name: SimpleQueue() for name in running}
    for name, stream in running.items():
        drain(stream, drained[name].put_nowait)
    began = time.monotonic()
    for name, replies in drained.items():
        patience_s = _GIVEN_UP_S if name in given_up else _DRAIN_S
        try:
            reply = replies.get(timeout=max(0.0, began + patience_s - time.monotonic()))
            if isinstance(reply, Drained):
                log.info("drained", stream=name, records=reply.progress.records, events=reply.progress.events)
                if reply.progress.apart:  # these events are in no result of this run
                    log.warning("kept apart", stream=name, events=reply.progress.apart, earliest=reply.progress.apart_from)
            else:
                log.warning("not drained", stream=name, reason=reply.reason)
        except Empty:
            log.warning("not drained", stream=name, after_s=patience_s)
    stopping = {name: threading.Thread(target=stream.stop, daemon=True) for name, stream in running.items()}
    for thread in stopping.values():
        thread.start()
    deadline = time.monotonic() + _CLOSE_S
    for name, thread in stopping.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():  # librdkafka may wait without end for a broker that is gone
            log.warning("not closed", stream=name, after_s=_CLOSE_S)
    guardian.stop()
    system.dispatcher.close()
