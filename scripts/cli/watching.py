"""The live events of a service as snapshots: the newest one, with rates, and what is wrong with the connection.

Reads `GET /live` on a thread of its own, and connects again where that ends. Used by `firnline top`.
"""

import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from firnline.transport import RefusedError, Transport, UnreachableError

_AGAIN_S = 0.5
_SILENT_S = 20.0
"""How long a service may send nothing; it sends at least a comment in half of that."""

_WINDOW_S = 3.0
"""Over how long rates are taken."""

_LONGEST = 16 << 20
_PASSING = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE, http.client.BAD_GATEWAY}


class Rates:
    """What came in and went out a second, by stream, over the last seconds. A restart, where counters fall, begins anew."""

    def __init__(self) -> None:
        self._known: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def take(self, now: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Take in a picture; returns records read and answers made a second, of streams that were there before."""
        counts = {each["name"]: (each["records"], each["made"]) for each in now["streams"] if "records" in each}
        at = float(now["at"])
        while len(self._known) > 1 and self._known[1][0] <= at - _WINDOW_S:
            self._known.popleft()
        if self._known and any(counts[name][0] < was[0] for name, was in self._known[-1][1].items() if name in counts):
            self._known.clear()
        self._known.append((at, counts))
        since, before = self._known[0]
        if at <= since:
            return {}
        return {
            name: {
                "records": (count[0] - before[name][0]) / (at - since),
                "answers": (count[1] - before[name][1]) / (at - since),
            }
            for name, count in counts.items()
            if name in before
        }


class Watching:
    """Watches the service that `transport` reaches, from `start` on. Any thread may look at it.

    `snapshot` is the newest: the members of the live events, `memory` by stream, and `rates`; None before the first one.
    `trouble` says why nothing comes, None while it does; with `refused` it never will, as with a wrong token.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._changed = threading.Condition()
        self._rates = Rates()
        self.snapshot: dict[str, Any] | None = None
        self.number = 0
        self.trouble: str | None = "connecting"
        self.refused = False

    def start(self) -> None:
        """Begin. The thread ends with the process."""
        threading.Thread(target=self._run, name="watching", daemon=True).start()

    def wait(self, number: int, timeout_s: float) -> bool:
        """Wait until there are more than `number` snapshots, or there is trouble; returns whether there are."""
        with self._changed:
            self._changed.wait_for(lambda: self.number > number or self.trouble not in {None, "connecting"}, timeout_s)
            return self.number > number

    def _run(self) -> None:
        while not self.refused:
            try:
                self._watch()
                self._tell("the service has ended the connection")
            except RefusedError as error:
                self.refused = error.status not in _PASSING
                self._tell(str(error))
            except (UnreachableError, http.client.HTTPException, OSError, ValueError) as error:
                self._tell(str(error) or type(error).__name__)
            time.sleep(_AGAIN_S)

    def _watch(self) -> None:
        """Take snapshots until the service ends them."""
        memory: dict[str, Any] = {}
        with self._transport.ask("/live", accept="text/event-stream") as response:
            for event, data in events(response):
                if event == "memory":
                    memory = data
                elif event == "now":
                    self._take({**data, "memory": memory, "rates": self._rates.take(data)})

    def _take(self, snapshot: dict[str, Any]) -> None:
        with self._changed:
            self.snapshot, self.trouble = snapshot, None
            self.number += 1
            self._changed.notify_all()

    def _tell(self, trouble: str) -> None:
        with self._changed:
            self.trouble = trouble
            self._changed.notify_all()


def watching(url: str | None) -> Watching:
    """Return what watches the service at `url`, with the token of the environment. Raises ValueError for no address."""
    transport = Transport(url, None, _SILENT_S, 1)
    transport.address()
    return Watching(transport)


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield the server-sent events of a response, each its name and its data. Raises ValueError for what is none."""
    name, data = "message", b""
    while line := response.readline(_LONGEST):
        if not line.endswith(b"\n"):
            return  # it broke off
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            data += value
        elif not field and data:
            yield name, json.loads(data)
            name, data = "message", b""
