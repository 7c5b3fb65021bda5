"""The client of a running Firnline. Its names and parameters are stable.

`Client.get` reaches every path without a method of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from firnline.moments import NO_TIMES, Times
from firnline.origin import Origin
from firnline.rows import EARLIEST, LATEST, Rows, Sets
from firnline.tables import Sql
from firnline.transport import Time, Transport

_BOUNDS = Times(("start", "end"))
"""The times of a bucket, in the unit of the stream. Segments have batch ids there, whose unit is no time."""


class Client:
    """Asks the service at `url` with `token`. Their defaults are FIRNLINE_URL and FIRNLINE_TOKEN, or loopback without a token.

    A request waits at most `timeout_s` seconds for the next bytes. If the service is busy and sends Retry-After, the request is
    sent again, up to `tries` times in all. Every method raises RefusedError if the service refuses, UnreachableError if it does
    not answer, and ValueError for a wrong address. Without `stream`, a function asks the stream with the usual name, such as
    `events`, or else the only stream of its view. Threads may share a client. With `times="datetime"` the times of all rows
    are datetimes in UTC, see `Rows.datetimes`. `transport` is for AsyncClient.

    >>> client = Client("http://127.0.0.1:8080")
    >>> rows = client.sets("2023-06-02T08:51:56Z", limit=100)  # sends no request yet
    >>> for each in rows:  # doctest: +SKIP
    ...     print(each["r"], each["g"], each["b"])
    1685695916000 1685695916010 1685695916020
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        tries: int = 5,
        times: Literal["number", "datetime"] = "number",
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or Transport(url, token, timeout_s, tries)
        self._is_dated = times == "datetime"

    @property
    def url(self) -> str:
        """The service's address."""
        return self._transport.url

    def __repr__(self) -> str:
        """Return the class and the address. The token is not shown."""
        return f"Client({self.url!r})"

    def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON of any path; parameters that are None are left out, times may be datetimes."""
        return self._transport.json(path, parameters)

    def get_of(self, of: Origin, path: str, parameters: Mapping[str, object]) -> Any:
        """Return the JSON of a path that begins with the stream's name, an answer `of` this stream and view."""
        return self._transport.json(path, parameters, of=of)

    def state_of(self, of: Origin) -> Mapping[str, Any]:
        """Return the state of the stream that is meant, as `/streams` has it.

        Raises RefusedError if there is no such stream of the view, or if several can be meant.
        """
        found: Mapping[str, Any] = self._transport.stream(of)
        return found

    def sets(
        self, start: Time = EARLIEST, end: Time = LATEST, *, limit: int | None = None, cursor: str | None = None,
        stream: str | None = None,
    ) -> Sets:  # fmt: skip
        """Return the sets whose first time is in [start, end), each as a mapping from step to time."""
        of = Origin.of(stream, "events", "sets")
        parameters = {"startTime": start, "endTime": end}
        return Sets(
            self._transport,
            f"/{of.stream}/get-sets",
            parameters,
            of=of,
            limit=limit,
            cursor=cursor,
            is_dated=self._is_dated,
        )

    def explain(self, step: str, time: Time, *, stream: str | None = None) -> Rows[dict[str, Any]]:
        """Return in which sets the events of a step at a time stand, and why others stand in none; with the number of each."""
        of = Origin.of(stream, "events", "sets")
        times = Times(None, but=("count",))
        return self._rows(f"/{of.stream}/explain", {"step": step, "time": time}, of, times)

    def summary(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        by: str | None = None,
        zone: str | None = None,
        stream: str | None = None,
    ) -> Rows[dict[str, Any]]:
        """Return the figures of the answers in [start, end) by bucket of `by`, such as "5m" or "1d" (of `zone`).

        Without `by`, all are in one bucket. Every view has `start`, `end` and `count`, and the page of the view has its further
        columns; of sets, a bucket has a row for the whole of a set and one for each later step. Segments take no times.
        """
        of = Origin.of(stream, "events")
        parameters = {"startTime": start, "endTime": end, "by": by, "zone": zone}
        return self._rows(f"/{of.stream}/summary", parameters, of, _BOUNDS)

    def top(self, limit: int | None = None, *, stream: str | None = None) -> Rows[str]:
        """Return the ids with the largest values, or all ids, the largest value first; `arrow` has the values too."""
        of = Origin.of(stream, "dataset", "top")
        return self._rows(f"/{of.stream}", {"limit": limit}, of)

    def uniques(
        self,
        granularity: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        limit: int | None = None,
        stream: str | None = None,
    ) -> Rows[dict[str, Any]]:
        """Return the periods of a granularity that begin in [start, end), each with its unique users.

        None: no bound, and the shortest granularity that the stream keeps, which is "minute" by default.
        """
        of = Origin.of(stream, "uniques", "uniques")
        parameters = {"granularity": granularity, "start": start, "end": end, "limit": limit}
        return self._rows(f"/{of.stream}", parameters, of, Times(("start", "end"), "s"))

    def words(
        self,
        *,
        of: Literal["words", "types"] = "words",
        last: int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        limit: int | None = None,
        stream: str | None = None,
    ) -> Rows[dict[str, Any]]:
        """Return the counts of words or event types, the highest first, in the `last` seconds, a range, or all time."""
        origin = Origin.of(stream, "words", "words")
        path = f"/{origin.stream}/{'CountWords' if of == 'words' else 'CountByEventType'}"
        parameters = {"last": last, "startTime": start, "endTime": end, "limit": limit}
        return self._rows(path, parameters, origin)

    def segments(
        self, *, after: int | None = None, limit: int | None = None, pending: bool = False, stream: str | None = None
    ) -> Rows[dict[str, Any]]:
        """Return the finished batches, or the pending ones with the segments that they lack, by batch id."""
        of = Origin.of(stream, "segments", "segments")
        path = f"/{of.stream}/pending" if pending else f"/{of.stream}"
        return self._rows(path, {"after": after, "limit": limit}, of)

    def funnel(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        by: Literal["minute", "hour", "day"] | None = None,
        zone: str | None = None,
        stream: str | None = None,
    ) -> Rows[dict[str, Any]]:
        """Return for each step how many of the sequences that begin in [start, end) reached it, and the seconds that it took.

        With `by`, return the steps of each period of the time `zone`, UTC by default.
        """
        of = Origin.of(stream, "funnel", "funnel")
        parameters = {"startTime": start, "endTime": end, "by": by, "zone": zone}
        return self._rows(f"/{of.stream}", parameters, of, _BOUNDS)

    def sequences(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        state: Literal["complete", "open", "lapsed"] | None = None,
        missing: str | None = None,
        key: str | None = None,
        limit: int | None = None,
        stream: str | None = None,
    ) -> Rows[dict[str, Any]]:
        """Return the sequences of a funnel that begin in [start, end), by time: of a state, without a step, of a key."""
        of = Origin.of(stream, "funnel", "funnel")
        given = {"state": state, "missing": missing, "key": key, "limit": limit}
        parameters = {"startTime": start, "endTime": end, **given}
        return self._rows(f"/{of.stream}/sequences", parameters, of, Times(None))

    def story(self, key: str, *, stream: str | None = None) -> Rows[dict[str, Any]]:
        """Return the events of a key of a funnel, by time: in which sequence each stands, or why in none."""
        of = Origin.of(stream, "funnel", "funnel")
        return self._rows(f"/{of.stream}/keys/{quote(key, safe='')}", {}, of, Times(("time",)))

    def _rows(self, path: str, parameters: Mapping[str, object], of: Origin, times: Times = NO_TIMES) -> Rows[Any]:
        return Rows(self._transport, path, parameters, of=of, times=times, is_dated=self._is_dated)

    def sql(self, query: str) -> Sql:
        """Return the rows of a query in the SQL of DuckDB, which runs in this process. Sends no request yet.

        Each stream is a table by its name: sets have a column a step, in order. `NAME_types` has the types of words, and
        `NAME_pending` the pending batches of segments. Needs `pip install duckdb pyarrow`.
        """
        return Sql(self._transport, query)

    def post(self, items: Iterable[str], *, stream: str = "dataset") -> dict[str, Any]:
        """Write items `id_value`; returns once Kafka has acknowledged them. Never retried, because a part may be written."""
        body = msgspec.json.encode({"items": list(items)})
        reply: dict[str, Any] = self._transport.json(f"/{stream}", method="POST", body=body, of=Origin(stream, "top"))
        return reply

    def clear(self, *, stream: str = "dataset") -> dict[str, Any]:
        """Delete all items of a dataset that were acknowledged before this request."""
        reply: dict[str, Any] = self._transport.json(f"/{stream}", method="DELETE", of=Origin(stream, "top"))
        return reply

    def stats(self, stream: str | None = None) -> dict[str, Any]:
        """Return a stream's collectors, memory, coverage, rejects, drops and lag."""
        of = Origin.of(stream, "events")
        reply: dict[str, Any] = self._transport.json(f"/{of.stream}/get-stats", of=of)
        return reply

    def rejects(self, stream: str | None = None) -> dict[str, Any]:
        """Return a stream's refused records: counted by reason, and the newest."""
        of = Origin.of(stream, "events")
        reply: dict[str, Any] = self._transport.json(f"/{of.stream}/rejects", of=of)
        return reply

    def streams(self) -> Any:
        """Return all streams of the service."""
        return self.get("/streams")

    def health(self) -> dict[str, Any]:
        """Return whether the service is ready, and why not. A status 503 is not an error here."""
        reply: dict[str, Any] = self._transport.json("/readyz", well=(200, 503))
        return reply
