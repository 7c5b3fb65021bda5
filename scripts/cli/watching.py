"""The live events of a service as snapshots: the newest one, with rates, and the problem of the connection if there is one.

Reads `GET /live` on a thread of its own, and connects again when that ends. Used by `firnline top`.
"""

import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from firnline.problems import RefusedError, UnreachableError
from firnline.transport import Transport

_RECONNECT_S = 0.5
_SILENCE_S = 20.0
"""How long the service may send nothing. It sends at least a comment in half of that time."""

_WINDOW_S = 3.0
"""The time over which rates are computed."""

_LONGEST = 16 << 20
_TEMPORARY = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE, http.client.BAD_GATEWAY}


class Rates:
    """Records and answers a second, by stream, over the last seconds; they begin again when a counter falls."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def take(self, now: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Add a snapshot; returns records and answers a second of the streams that an earlier snapshot had."""
        counts = {each["name"]: (each["records"], each["made"]) for each in now["streams"] if "records" in each}
        at = float(now["at"])
        while len(self._counts) > 1 and self._counts[1][0] <= at - _WINDOW_S:
            self._counts.popleft()
        if self._counts and any(counts[name][0] < was[0] for name, was in self._counts[-1][1].items() if name in counts):
            self._counts.clear()
        self._counts.append((at, counts))
        since, before = self._counts[0]
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

    `snapshot` is the newest one: the members of the live events, `memory` by stream, and `rates`; None before the first.
    `trouble` is why no snapshot comes, or None. With `refused` none will ever come, as with a wrong token.
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
        """Start the thread, which ends with the process."""
        threading.Thread(target=self._run, name="watching", daemon=True).start()

    def wait(self, number: int, timeout_s: float) -> bool:
        """Wait for more than `number` snapshots, or for trouble; returns whether the snapshots came."""
        with self._changed:
            self._changed.wait_for(lambda: self.number > number or self.trouble not in {None, "connecting"}, timeout_s)
            return self.number > number

    def _run(self) -> None:
        while not self.refused:
            try:
                self._watch()
                self._report("the service has ended the connection")
            except RefusedError as error:
                self.refused = error.status not in _TEMPORARY
                self._report(str(error))
            except (UnreachableError, http.client.HTTPException, OSError, ValueError) as error:
                self._report(str(error) or type(error).__name__)
            time.sleep(_RECONNECT_S)

    def _watch(self) -> None:
        """Take snapshots until the service ends the connection."""
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

    def _report(self, trouble: str) -> None:
        with self._changed:
            self.trouble = trouble
            self._changed.notify_all()


def watching(url: str | None) -> Watching:
    """Return a Watching of the service at `url`, with the token of the environment. Raises ValueError for a wrong address."""
    transport = Transport(url, None, _SILENCE_S, 1)
    transport.address()
    return Watching(transport)


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield the server-sent events of a response: name and data. Raises ValueError if the data is not JSON."""
    name, data = "message", b""
    while line := response.readline(_LONGEST):
        if not line.endswith(b"\n"):
            return  # the connection broke
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            data += value
        elif not field and data:
            yield name, json.loads(data)
            name, data = "message", b""
