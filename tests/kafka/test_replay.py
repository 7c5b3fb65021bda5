"""Dead letters: they are written unchanged, and each is put back once, in any order of replays."""

import json
import os
import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from actors.kafka_topic import ensure_topic, longest_record
from actors.messages import Dead
from actors.sinks.dead_letters import DeadLetterSink
from actors.sources.kafka.source import KafkaSource
from actors.sources.polled import Place
from scripts.service.letters.replay import Done
from tests.conftest import create_topic
from tests.support.forked import run_forked
from tests.support.waiting import until

Record = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def unheard(text: str) -> None:
    raise AssertionError(text)


def read(bootstrap: str, topic: str, count: int) -> list[Record]:
    """Return partition, value, key and headers of all records, in order of partition and offset. There must be `count` records."""
    source = KafkaSource({"bootstrap.servers": bootstrap, "group.id": "test"}, topic, start="earliest", on_error=unheard)
    until(lambda: source.open(Place()))
    found: list[tuple[int, Record]] = []
    ended: set[int] = set()

    def done() -> bool:
        polled = source.poll(1_000, 0.1)
        places = polled.offsets().tolist()
        for place, (number, value) in enumerate(zip(polled.partitions.tolist(), polled.values, strict=True)):
            record = (number, value, polled.key_of(place), tuple(polled.headers_of(place)))
            found.append((places[place], record))
        ended.update(polled.ended)
        return len(found) >= count and ended >= source.place().offsets.keys()

    until(done)
    source.close()
    assert len(found) == count
    return [record for _, record in sorted(found, key=lambda each: (each[1][0], each[0]))]


def replay(bootstrap: str, topic: str, *words: str) -> str:
    command = ["-m", "scripts.replay", "--bootstrap", bootstrap, "--from-topic", topic, *words]
    ended = run_forked(command)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def letters(broker: str) -> tuple[str, str, list[Dead]]:
    """Write six dead letters of a topic, and return both topics' names and the letters."""
    origin, topic = create_topic(broker), f"dead-{uuid.uuid4().hex}"
    dead = [
        Dead(b"a\xff", b"k", [("h", b"1"), ("h", None)], 2, 10, "bad"),
        Dead(None, b"k", [], 2, 11, "late"),
        Dead(b"", None, [("firnline.reason", b"an earlier life's")], 0, 5, "bad"),
        Dead(b"x" * 5_000, None, [], 7, 6, "bad"),
        Dead(b"d", None, [], 0, 8, "late"),
        Dead(b"e", None, [], 0, 9, "unheard of: é"),
    ]
    sink = DeadLetterSink({"bootstrap.servers": broker}, topic, origin=origin, on_error=unheard)
    assert sink.secure()
    sink.write(dead)
    assert sink.secure()
    assert (sink.written, sink.delivered, sink.lost) == (6, 6, 0)
    sink.close()
    return origin, topic, dead


@pytest.mark.versions
def test_a_dead_letter_is_the_record_with_its_place_and_reason(broker: str, letters: tuple[str, str, list[Dead]]):
    origin, topic, dead = letters
    for (_, value, key, headers), record in zip(read(broker, topic, 6), dead, strict=True):
        own = tuple(header for header in record.headers if not header[0].startswith("firnline."))
        assert (value, key, headers[: len(own)]) == (record.value, record.key, own)
        assert dict(headers[len(own) :]) == {
            "firnline.topic": origin.encode(),
            "firnline.partition": b"%d" % record.partition,
            "firnline.offset": b"%d" % record.offset,
            "firnline.reason": record.reason.encode(),
        }


def test_dead_letters_are_put_back_as_they_were_and_only_once(broker: str, letters: tuple[str, str, list[Dead]]):
    origin, topic, _ = letters
    assert "6 would be put back" in replay(broker, topic, "--dry-run")
    assert read(broker, origin, 0) == []
    assert "2 were put back" in replay(broker, topic, "--reason", "late")
    assert "0 were put back" in replay(broker, topic, "--reason", "late")
    assert "1 were put back" in replay(broker, topic, "--limit", "1")
    shown = replay(broker, topic, "--dry-run")
    assert "3 would be put back" in shown
    assert "unheard of: é" in shown
    assert "3 were put back" in replay(broker, topic)
    assert "0 were put back" in replay(broker, topic)
    back = read(broker, origin, 6)
    assert [record for record in back if record[2] is not None] == [
        (2, None, b"k", ()),
        (2, b"a\xff", b"k", (("h", b"1"), ("h", None))),
    ]
    assert sorted(record[1] or b"" for record in back if record[1] != b"a\xff" and record[2] is None) == sorted(
        [b"", b"x" * 5_000, b"d", b"e"]
    )


def test_records_that_are_not_dead_letters_are_skipped(broker: str, letters: tuple[str, str, list[Dead]]):
    _, topic, _ = letters
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(topic, b"somebody else's")
    assert producer.flush(20) == 0
    assert "6 were put back" in replay(broker, topic)


def test_an_absent_topic_is_one_line_of_error(broker: str):
    command = ["-m", "scripts.replay", "--bootstrap", broker, "--from-topic", "nowhere"]
    ended = run_forked(command)
    assert ended.returncode == 1
    assert ended.stderr.startswith("replay: ")
    assert ended.stderr.count("\n") == 1


def test_dead_letters_wait_while_kafka_is_away_and_those_that_time_out_are_counted_as_lost():
    said: list[str] = []
    settings: dict[str, Any] = {
        "bootstrap.servers": "127.0.0.1:1",
        "queue.buffering.max.messages": 10,
        "message.timeout.ms": 500,
    }
    sink = DeadLetterSink(settings, "dead", origin="t", on_error=said.append)
    sink._producer = sink._client({})  # the broker went away after the sink had connected
    sink.write([Dead(b"v", None, [], 0, number, "bad") for number in range(15)])
    sink.poll()
    assert (sink.written, sink.held, sink.unacknowledged, sink.lost) == (15, 5, 15, 0)
    until(lambda: sink.poll() or sink.lost == 15)
    assert (sink.held, sink.delivered) == (0, 0)


def counts_of(broker: str, topic: str, origin: str, sizes: Iterable[int]) -> tuple[int, int, int]:
    """Write dead letters of these sizes. Return how many were written, delivered and lost."""
    sink = DeadLetterSink({"bootstrap.servers": broker}, topic, origin=origin, on_error=lambda _: None)
    sink.write([Dead(os.urandom(size), None, [], 0, number, "bad") for number, size in enumerate(sizes)])
    until(sink.secure)
    sink.close()
    return sink.written, sink.delivered, sink.lost


@pytest.mark.parametrize("limit", [None, 3_000_000, 20_000])
def test_every_record_that_its_own_topic_took_becomes_a_dead_letter(broker: str, limit: int | None):
    origin, topic = f"in-{uuid.uuid4().hex}", f"dead-{uuid.uuid4().hex}"
    ensure_topic({"bootstrap.servers": broker}, origin, 1, longest=lambda: limit)
    longest = longest_record({"bootstrap.servers": broker}, origin)
    assert limit is None or longest == limit
    assert counts_of(broker, topic, origin, [longest, longest - 1, 1_000, longest // 2]) == (4, 4, 0)


@pytest.mark.parametrize(("limit", "lost"), [(1_048_588, 1), (2_000_000, 0), (50_000, 3)])
def test_an_existing_topic_gets_each_dead_letter_that_it_takes(broker: str, limit: int, lost: int):
    topic = f"dead-{uuid.uuid4().hex}"
    ensure_topic({"bootstrap.servers": broker}, topic, 1, longest=lambda: limit - 512)
    sizes = [1_000_000, 1_047_000, 1_060_000, *[900] * 500]
    assert counts_of(broker, topic, "", sizes) == (503, 503 - lost, lost)


@given(
    st.lists(st.sampled_from("abc"), max_size=30),
    st.lists(st.tuples(st.one_of(st.none(), st.sets(st.sampled_from("abc"), min_size=1)), st.integers(0, 30)), max_size=8),
)
def test_each_dead_letter_is_put_back_once_in_any_order_of_reasons(reasons: list[str], runs: list[tuple[set[str] | None, int]]):
    back: list[int] = []
    done = Done()
    for wanted, limit in [*runs, (None, 30)]:
        done = Done.of(done.all_before, done.note())
        assert json.loads(done.note() or "{}") == done.before
        left = limit
        for offset, reason in enumerate(reasons):
            if left and (wanted is None or reason in wanted) and not done.has(offset, reason):
                back.append(offset)
                done.put(offset + 1, wanted)
                left -= 1
    assert sorted(back) == list(range(len(reasons)))
