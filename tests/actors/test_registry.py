"""The source that waits for schemas, and the memory of a registry, with answers that come when the test says so."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import actors.registry.registry as module
from actors.columns.values import Values
from actors.records.encoding import UnreadableError
from actors.records.schemas.framing import FRAME_BYTES
from actors.registry.client import AwayError, Found, RegistryClient
from actors.registry.registry import Registry
from actors.registry.source import FramedSource
from actors.replies import Trouble
from actors.sources.polled import Gap, Place, Polled, of_one_partition
from actors.views.view import UnreadyError
from tests.support.waiting import until


class Told(RegistryClient):
    """A registry that answers when it is let, with what `answers` has: None is an unknown number, an error that it is away."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers: dict[int, Found | AwayError | None] = {}
        self.begun: list[int] = []
        self.asked: list[int] = []
        self.let = threading.Semaphore(0)

    def schema(self, number: int) -> Found | None:
        self.begun.append(number)
        self.let.acquire()
        self.asked.append(number)
        answer = self.answers.get(number, Found("AVRO", str(number), ()))
        if isinstance(answer, AwayError):
            raise answer
        return answer


class Same:
    """A schema whose record is its number and its bytes."""

    def __init__(self, found: Found) -> None:
        if found.text == "wrong":
            raise ValueError("a schema")
        if found.text == "defect":
            raise RuntimeError("a defect")
        self.number = int(found.text)

    def values(self, record: bytes, start: int, ways: Sequence[Any]) -> Sequence[object]:
        return [self.number, record[start:]]


class Listed:
    """A source that gives the polls of a list, and then nothing."""

    endless = False

    def __init__(self, polls: Sequence[Sequence[bytes]]) -> None:
        self._polls = list(polls)
        self._at = 0
        self.closed = 0

    @property
    def finished(self) -> bool:
        return not self._polls

    def open(self, place: Place) -> bool:
        return True

    def extend(self) -> bool:
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        values = list(self._polls.pop(0)) if self._polls else []
        first, self._at = self._at, self._at + len(values)
        return of_one_partition(Values.of(values), first, lambda: np.zeros(len(values), np.int64), ended=frozenset({0}))

    def trouble(self) -> Trouble | None:
        return None

    def gaps(self) -> list[Gap]:
        return [Gap(0, 1, "deleted")]

    def only(self, partition: int | None) -> None:
        pass

    def place(self) -> Place:
        return Place({0: self._at})

    def lag(self) -> dict[int, int]:
        return {0: 5}

    def commit(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def framed(*numbers: int) -> list[bytes]:
    return [b"\0" + number.to_bytes(4, "big") + b"x" for number in numbers]


@contextmanager
def reading(*polls: Sequence[bytes]) -> Iterator[tuple[FramedSource, Told, Registry, list[str]]]:
    client, complaints = Told(), list[str]()
    registry = Registry(client, Same, name="t/registry", on_error=complaints.append)
    source = FramedSource(Listed(polls), registry)
    source.open(Place())
    try:
        yield source, client, registry, complaints
    finally:
        source.close()
        client.let.release(1_000)


def given(source: FramedSource) -> Callable[[], list[bytes | None] | None]:
    def look() -> list[bytes | None] | None:
        return source.poll(10, 0.01).values.listed or None

    return look


def test_a_poll_is_held_until_its_schemas_are_known():
    first, second = framed(7, 8, 7), [*framed(8, 7), b"R_1"]
    with reading(first, second) as (source, client, _, _):
        polled = source.poll(10, 0.0)
        assert (len(polled.values), polled.ended, polled.held) == (0, frozenset(), {0: None})
        assert (source.place().offsets, source.lag(), source.gaps(), source.finished) == ({0: 0}, {0: 8}, [], False)
        client.let.release()
        until(lambda: client.asked == [7])
        assert not source.poll(10, 0.0).values
        client.let.release()
        assert until(given(source)) == first
        assert (source.place().offsets, source.lag(), len(source.gaps())) == ({0: 3}, {0: 5}, 1)
        polled = source.poll(10, 0.0)
        assert (polled.values.listed, polled.ended) == (second, frozenset({0}))
        assert client.asked == [7, 8]
        assert source.finished


def test_a_registry_that_is_away_is_the_trouble_of_the_source_until_it_answers():
    with reading(framed(7), framed(8)) as (source, client, _, _):
        client.answers[7] = AwayError("unreachable", "http://127.0.0.1:1: Connection refused")
        client.let.release(2)
        source.poll(10, 0.0)
        trouble = until(source.trouble)
        assert (trouble.state, trouble.reasons) == ("unreachable", ("schema registry http://127.0.0.1:1: Connection refused",))
        until(lambda: client.asked == [7, 7])
        assert until(source.trouble).since == trouble.since
        del client.answers[7]
        client.let.release()
        assert until(given(source)) == framed(7)
        assert source.trouble() is None


def test_an_unknown_number_is_asked_for_again_after_a_while_only(monkeypatch: pytest.MonkeyPatch):
    with reading(framed(7), framed(7), framed(7)) as (source, client, registry, _):
        client.answers[7] = None
        client.let.release(10)
        for _ in range(2):
            assert until(given(source)) == framed(7)
        assert client.asked == [7]
        with pytest.raises(UnreadableError, match="unknown_schema"):
            registry.of(framed(7)[0])
        monkeypatch.setattr(module, "_FORGET_S", -1.0)
        del client.answers[7]
        registry._known[7] = registry._known[7]._replace(until=-1.0)
        assert until(given(source)) == framed(7)
        assert client.asked == [7, 7]
        schema, start = registry.of(framed(7)[0])
        assert (schema.values(framed(7)[0], start, []), start) == ([7, b"x"], FRAME_BYTES)


def test_a_schema_that_cannot_be_used_is_reported_once_and_its_records_are_refused():
    with reading(framed(7)) as (source, client, registry, complaints):
        client.answers[7] = Found("AVRO", "wrong", ())
        client.let.release()
        assert until(given(source)) == framed(7)
        assert complaints == ["schema 7 of http://127.0.0.1:1: expected a schema"]
        with pytest.raises(UnreadableError, match="wrong_schema"):
            registry.of(framed(7)[0])


def test_a_defect_on_the_thread_of_the_registry_fails_the_poll():
    with reading(framed(7)) as (source, client, _, _):
        client.answers[7] = Found("AVRO", "defect", ())
        client.let.release()
        with pytest.raises(RuntimeError, match="a defect"):
            until(given(source))


def test_schemas_that_were_needed_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MOST", 3)
    polls = [framed(1, 2), framed(3, 4), framed(2), framed(5), framed(6, 7), framed(5), framed(1)]
    with reading(*polls) as (source, client, registry, _):
        client.let.release(100)
        for poll in polls[:-1]:
            assert until(given(source)) == poll
            assert len(registry._known) <= 3 + 2 * len(poll)
        assert 2 in registry._known
        assert until(given(source)) == polls[-1]
        assert client.asked.count(1) == 2, "it was forgotten, and asked for again"


def test_a_schema_that_is_missing_when_a_record_is_decoded_is_asked_for_with_the_next_poll():
    with reading(framed(8)) as (source, client, registry, _):
        with pytest.raises(UnreadyError):
            registry.of(framed(7)[0])
        assert not source.poll(10, 0.0).values
        client.let.release(2)
        assert until(given(source)) == framed(8)
        assert registry.of(framed(7)[0])[0].values(b"", 0, []) == [7, b""]


def test_a_closed_source_forgets_what_it_held_and_asks_anew():
    with reading(framed(7), framed(8)) as (source, client, _, _):
        source.poll(10, 0.0)
        until(lambda: client.begun == [7])
        source.close()
        client.let.release()
        until(lambda: client.asked == [7])
        source.open(Place({0: 1}))
        client.let.release()
        assert until(given(source)) == framed(8)
        assert client.asked == [7, 8]
