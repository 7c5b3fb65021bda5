"""Compares every answer of a running service with the truth. Reads the service by HTTP, its file and its topics alone.

Imports nothing of the product.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from confluent_kafka import Consumer, TopicPartition

from scripts.lab.chaos.makers import STEPS
from scripts.lab.chaos.oracle import FunnelTruth, Span, Truth
from scripts.lab.truth import GRANULARITIES

NAMES = {
    "sets": "events",
    "top": "dataset",
    "segments": "segments",
    "uniques": "uniques",
    "words": "words",
    "funnel": "funnel",
}
"""The name of each view's stream."""

MAX_AHEAD_MS = 2_000
"""How far an event may be ahead of the clock: `max_ahead_ms` of the streams."""

_EARLY_S = 8
_END_S = 9_999_999_999
_PAGE = 700
_SHOWN = 160
_LOOK_S = 0.05


class UnansweredError(Exception):
    """The service did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A question whose answer differs, and where it differs."""

    view: str
    question: str
    detail: str

    def __str__(self) -> str:
        return f"{self.view}: {self.question}: {self.detail}"


class Client:
    """Asks a service on this machine, with one connection for each question."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, accept: str = "*/*") -> bytes:
        """Return the body of the response. Raises UnansweredError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Accept": accept})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnansweredError(f"{path}: {error!r}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise UnansweredError(f"{path}: {response.status} {answer[:_SHOWN]!r}")
        return answer

    def get(self, path: str) -> Any:
        """Return the response's JSON. Raises UnansweredError."""
        return json.loads(self.ask(path))

    def stats(self, view: str) -> Any:
        """Return the stats of a view's stream. Raises UnansweredError."""
        return self.get(f"/{NAMES[view]}/get-stats")

    def ready(self) -> bool:
        """Whether the service reports that it is ready."""
        try:
            return bool(self.get("/readyz")["ready"])
        except UnansweredError:
            return False


class Output:
    """Reads an output topic of one partition: the records of committed transactions alone."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "verifier", "isolation.level": "read_committed", "log_level": 0}
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._records: list[bytes] = []

    def records(self) -> list[bytes]:
        """Return all records, and those that are new since the last call."""
        while messages := self._consumer.consume(10_000, 0.1):
            self._records += [message.value() or b"" for message in messages if not message.error()]
        return self._records

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


@dataclass(slots=True)
class Verifier:
    """Compares a service's answers with the truths, by view.

    `folder` is the service's working folder, `outputs` are its output topics by view. Without `exactly_once` the service keeps
    no checkpoints, so results may be published again.
    """

    client: Client
    truths: Mapping[str, Truth]
    folder: Path
    outputs: Mapping[str, Output]
    exactly_once: bool
    chance: Random
    comparisons: int = field(default=0)

    def differences(self, patience_s: float) -> list[Difference]:
        """Return the differences that remain after `patience_s`, in which results may reach files and topics."""
        found: list[Difference] = []
        deadline = time.monotonic() + patience_s
        for view, truth in self.truths.items():
            span = truth.choose(self.chance)
            while True:
                truth.admit(int(1_000 * time.time()))  # more events may come in while results are on their way
                wanted = {**truth.expected(span), **conservation(truth)}
                if not self.exactly_once:
                    wanted.pop("rows that the topic holds twice", None)
                own = list(self._compare(view, span, wanted))
                if not own or time.monotonic() > deadline:
                    break
                time.sleep(_LOOK_S)
            found += own
            self.comparisons += len(wanted)
        return found

    def early(self) -> list[Difference]:
        """Return the events of the future that are in answers now. They would be right later, so there is no patience.

        An event may be in an answer `MAX_AHEAD_MS` before its time. A service that does not answer in time is not judged.
        """
        begin = time.time()
        second = int(begin) + _EARLY_S
        questions = {
            "words": f"/words/CountWords?startTime={second}&endTime={_END_S}",
            "uniques": f"/uniques?start={-(-second // 60) * 60}&end={_END_S}",
        }
        found = []
        for view in self.truths.keys() & questions.keys():
            try:
                got = self.client.get(questions[view])
            except UnansweredError:
                continue
            if time.time() - begin < _EARLY_S - MAX_AHEAD_MS / 1_000 and (got if view == "words" else got["uniques"]):
                found.append(Difference(view, "events before their time", _short(got)))
        self.comparisons += len(questions)
        return found

    def _compare(self, view: str, span: Span, wanted: Mapping[str, Any]) -> Iterator[Difference]:
        asked = {**self._questions(view, span), **self._conserved(view)}
        for question, right in wanted.items():
            try:
                got = asked[question]()
            except (UnansweredError, OSError, KeyError, TypeError, ValueError, IndexError) as error:
                yield Difference(view, question, f"no answer: {error!r}")
                continue
            if got != right:
                yield Difference(view, question, parting(right, got))

    def _questions(self, view: str, span: Span) -> dict[str, Callable[[], Any]]:
        questions = {
            "sets": self._sets,
            "top": self._top,
            "segments": self._segments,
            "uniques": self._uniques,
            "words": self._words,
            "funnel": self._funnel,
        }
        return questions[view](span)

    def _sets(self, span: Span) -> dict[str, Callable[[], Any]]:
        ask = self.client.ask
        return {
            "all sets": lambda: ask("/events/get-sets?startTime=0&endTime=9999999999999", accept="application/x-ndjson"),
            "sets of a range, page by page": lambda: b"".join(self._pages(span)),
            "how many sets": lambda: self.client.stats("sets")["total"]["validSetCount"],
            "the bound": lambda: self.client.stats("sets")["total"]["bound"],
        }

    def _pages(self, span: Span) -> Iterator[bytes]:
        """Yield the sets of a range, a line each, read page by page."""
        path = f"/events/get-sets?startTime={span[0]}&endTime={span[1]}&limit={_PAGE}"
        following = ""
        while True:
            page = self.client.get(path + following)
            yield from (json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in page["sets"])
            if "next" not in page:
                return
            following = f"&cursor={page['next']}"

    def _top(self, span: Span) -> dict[str, Callable[[], Any]]:
        get = self.client.get
        return {
            "all ids": lambda: get("/dataset")["data"],
            "the first ids": lambda: get(f"/dataset?limit={span[1]}")["data"],
            "how many ids": lambda: self.client.stats("top")["total"]["ids"],
        }

    def _segments(self, span: Span) -> dict[str, Callable[[], Any]]:
        get = self.client.get
        return {
            "finished batches": lambda: [
                [row["batch"], row["count"], row["first"], row["last"]]
                for row in get("/segments")["segments"]
                if not row["epoch"]
            ],
            "orders of completion": lambda: sorted(row["order"] for row in get("/segments")["segments"]),
            "pending batches": lambda: [[row["batch"], row["missing"]] for row in get("/segments/pending")["pending"]],
            "lines by batch": lambda: [self._line(batch) for batch in range(*span)],
            "lines of the file": lambda: self._once(self._file()),
            "lines of the topic": lambda: self._once(self.outputs["segments"].records()),
        }

    def _line(self, batch: int) -> bytes | None:
        try:
            return self.client.ask(f"/segments/{batch}")
        except UnansweredError as error:
            if ": 404 " in str(error):
                return None
            raise

    def _file(self) -> list[bytes]:
        """Return the lines of the output file, and of the files that were set aside."""
        paths = sorted((self.folder / "output").glob("output.txt*"))
        return [line for path in paths for line in path.read_bytes().splitlines()]

    def _once(self, lines: Sequence[bytes]) -> list[bytes]:
        return sorted(lines if self.exactly_once else set(lines))

    def _uniques(self, span: Span) -> dict[str, Callable[[], Any]]:
        def rows(query: str) -> list[list[int]]:
            return [row_of(row) for row in self.client.get(f"/uniques?{query}")["uniques"]]

        found: dict[str, Callable[[], Any]] = {
            f"rows by {name}": lambda name=name: rows(f"granularity={name}")  # type: ignore[misc]  # bound as it is now
            for name in GRANULARITIES
        }
        found["rows of a range"] = lambda: rows(f"start={span[0]}&end={span[1]}")
        found["last rows of the topic"] = lambda: last_rows(self.outputs["uniques"].records())
        found["rows that the topic holds twice"] = lambda: twice(self.outputs["uniques"].records())
        return found

    def _words(self, span: Span) -> dict[str, Callable[[], Any]]:
        get = self.client.get
        bounds = f"startTime={span[0]}&endTime={span[1]}"
        return {
            "all types": lambda: get("/events/CountByEventType"),
            "all words": lambda: get("/events/CountWords"),
            "types of a range": lambda: get(f"/events/CountByEventType?{bounds}"),
            "words of a range": lambda: get(f"/words/CountWords?{bounds}"),
        }

    def _funnel(self, span: Span) -> dict[str, Callable[[], Any]]:
        get, truth = self.client.get, cast("FunnelTruth", self.truths["funnel"])
        bound = f"endTime={truth.until}"

        def minutes() -> list[list[int]]:
            rows = get(f"/funnel?by=minute&{bound}")["steps"]
            return [[row["start"], row["reached"]] for row in rows if row["step"] == STEPS[0] and row["reached"]]

        def totals() -> list[int]:
            found = get(f"/funnel?{bound}")
            return [*(row["reached"] for row in found["steps"]), found["complete"], found["open"], found["lapsed"]]

        def story() -> list[list[Any]]:
            return sorted([row["time"], row["step"]] for row in get(f"/funnel/keys/{truth.key}")["events"])

        return {
            "all sequences": lambda: sorted(map(sequence_of, get(f"/funnel/sequences?{bound}")["sequences"]), key=str),
            "sequences of a range, page by page": lambda: sorted(self._sequences(span), key=str),
            "lapsed sequences": lambda: sorted(
                map(sequence_of, get(f"/funnel/sequences?state=lapsed&{bound}")["sequences"]), key=str
            ),
            "how many reached each step": totals,
            "times between steps": lambda: [
                [row["p50"], row["p95"], row["max"]] for row in get(f"/funnel?{bound}")["steps"][1:]
            ],
            "sequences by minute": minutes,
            "the story of a key": story,
            "lines of the topic": lambda: sorted(
                (sequence_of(json.loads(line)) for line in self._once(self.outputs["funnel"].records())), key=str
            ),
        }

    def _sequences(self, span: Span) -> Iterator[list[Any]]:
        """Yield the sequences of a range, read page by page."""
        path = f"/funnel/sequences?startTime={span[0]}&endTime={span[1]}&limit={_PAGE}"
        following = ""
        while True:
            page = self.client.get(path + following)
            yield from map(sequence_of, page["sequences"])
            if "next" not in page:
                return
            following = f"&cursor={page['next']}"

    def _conserved(self, view: str) -> dict[str, Callable[[], Any]]:
        def total(key: str) -> int:
            return int(self.client.stats(view)[key])

        def held() -> int:
            stats = self.client.stats(view)
            under_way = stats["buffered"] + stats["inFlight"] + stats["apart"]
            return int(under_way + sum(row["events"] for row in stats["data"]) + sum(stats["dropped"].values()))

        return {
            "records": lambda: total("records"),
            "events": lambda: total("events"),
            "rejects": lambda: sum(self.client.stats(view)["rejects"].values()),
            "events held, on their way, apart or dropped": held,
            "events kept apart": lambda: total("apart"),
            "late events": lambda: total("late") if view in {"sets", "funnel"} else 0,
            "missing spans": lambda: self.client.stats(view)["coverage"]["missing"],
        }


def conservation(truth: Truth) -> dict[str, Any]:
    """Return what the counters of every stream must add up to once all records are read."""
    return {
        "records": truth.records,
        "events": truth.events,
        "rejects": truth.records - truth.events,
        "events held, on their way, apart or dropped": truth.events,
        "events kept apart": len(truth.apart),
        "late events": 0,
        "missing spans": [],
    }


def sequence_of(row: Mapping[str, Any]) -> list[Any]:
    """Return the key, the state, the time of each step, and until when a sequence could have gone on."""
    return [row["key"], row["state"], *row["steps"].values(), row["lapsesAt"]]


def row_of(row: Mapping[str, Any]) -> list[int]:
    """Return a row of unique users without the members that depend on when it was asked. Raises ValueError if not exact."""
    if not row["exact"] or not row["lower"] == row["unique"] == row["upper"]:
        raise ValueError(f"not exact: {row}")
    return [row["start"], row["end"], row["unique"], row["frames"]]


def last_rows(records: Sequence[bytes]) -> dict[str, list[list[int]]]:
    """Return the last row of each period, by granularity."""
    last: dict[tuple[str, int], Any] = {}
    for record in records:
        row = json.loads(record)
        last[row["granularity"], row["start"]] = row
    found: dict[str, list[list[int]]] = {}
    for (name, _), row in sorted(last.items(), key=lambda entry: entry[0]):
        found.setdefault(name, []).append(row_of(row))
    return found


def twice(records: Sequence[bytes]) -> list[str]:
    """Return the revisions that were published more than once."""
    seen: set[tuple[str, int, int]] = set()
    again = []
    for record in records:
        row = json.loads(record)
        key = row["granularity"], row["start"], row["revision"]
        if key in seen:
            again.append(f"{key}")
        seen.add(key)
    return again


def parting(right: Any, got: Any) -> str:
    """Return where two values first differ."""
    if isinstance(right, bytes) and isinstance(got, bytes):
        right, got = right.splitlines(), got.splitlines()
    if isinstance(right, list) and isinstance(got, list):
        place = next((place for place, pair in enumerate(zip(right, got, strict=False)) if pair[0] != pair[1]), None)
        if place is None:
            place = min(len(right), len(got))
        pair = (each[place] if place < len(each) else "nothing" for each in (right, got))
        return "expected {1}, got {2}, at {0} ({3} expected, {4} got)".format(place, *map(_short, pair), len(right), len(got))
    if isinstance(right, dict) and isinstance(got, dict):
        key = next(key for key in (*right, *got) if right.get(key) != got.get(key))
        return f"{key}: {parting(right.get(key), got.get(key))}"
    return f"expected {_short(right)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
