"""The Kafka sink if Kafka counts a transaction as committed, and has left it open: markers are missing in the partitions.

Kafka 4.4.0 leaves its log so if a broker is killed just after the commit. Here the markers are cut out of the log.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from actors.sinks.kafka import visible
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.sink import Fenced
from scripts.lab.chaos.processes import Node, own_broker
from tests.kafka.test_owner import begun, lines, patiently, published
from tests.support.java import need_java
from tests.support.markers import cut_last_marker, is_complete
from tests.support.sinks import committed_values, new_topic
from tests.support.waiting import until

QUICK = {"broker.session.timeout.ms": 3_000, "broker.heartbeat.interval.ms": 500}
"""Settings of a broker that is killed: it answers again once its session has ended, after nine seconds by default."""


class Published(NamedTuple):
    """A sink that has published 1 and 2 with checkpoint 1, and 3 with checkpoint 2: its topic, and its place in each."""

    topic: str
    sink: KafkaSink
    first: Any
    second: Any


def published_twice(bootstrap: str) -> Published:
    topic = new_topic()
    sink = begun(bootstrap, topic)
    first, second = published(sink, 1, 1, 2), published(sink, 2, 3)
    until(lambda: is_complete(bootstrap, f"tx-{topic}"))
    return Published(topic, sink, first, second)


class Cut(NamedTuple):
    """A broker that was killed and started again, and what lacks the last marker in its log."""

    bootstrap: str
    in_topic: Published
    """Only the topic lacks the marker."""
    at_first: str
    """The topic lacks the marker of its first transaction."""
    survivor: Published
    """The sink is still alive."""
    in_both: Published
    """The topic and the group lack the marker."""


@pytest.fixture(scope="module")
def cut() -> Iterator[Cut]:
    need_java()
    with own_broker(QUICK) as (node, _):
        yield lose_markers(node)


def lose_markers(node: Node) -> Cut:
    """Publish, kill the broker, take the last marker out of its logs, and start the broker again."""
    at_first = new_topic()
    published(begun(node.bootstrap, at_first), 1, 1)
    until(lambda: is_complete(node.bootstrap, f"tx-{at_first}"))
    in_topic, survivor, in_both = (published_twice(node.bootstrap) for _ in range(3))
    node.kill()
    for topic in (in_topic.topic, at_first, survivor.topic, in_both.topic):
        cut_last_marker(node.data / f"{topic}-0")
    cut_last_marker(node.data / "__consumer_offsets-0")
    node.restart()
    until(node.answers, timeout_s=300)
    return Cut(node.bootstrap, in_topic, at_first, survivor, in_both)


@pytest.mark.parametrize("lacking", [pytest.param("in_both", marks=pytest.mark.long), "in_topic"])
def test_results_that_kafka_has_left_open_come_once(cut: Cut, lacking: str):
    before: Published = getattr(cut, lacking)
    again = begun(cut.bootstrap, before.topic, before.first)
    standing = patiently(again.look)
    assert standing.fits(1, [before.first])
    assert not standing.fits(2, [before.second])
    published(again, 3, 3, 4)
    again.close()
    assert committed_values(cut.bootstrap, before.topic) == [b"1", b"2", b"3", b"4"]


def test_a_first_transaction_that_kafka_has_left_open_is_written_again(cut: Cut):
    again = begun(cut.bootstrap, cut.at_first)
    standing = patiently(again.look)
    assert (standing.mark, standing.checkpoint) == (None, 1)
    published(again, 2, 1, 2)
    again.close()
    assert committed_values(cut.bootstrap, cut.at_first) == [b"1", b"2"]


def test_no_checkpoint_is_made_before_readers_see_the_last_commit(cut: Cut, monkeypatch: pytest.MonkeyPatch):
    """Two checkpoints are kept: with a third one, the one whose results readers see would be deleted."""
    sink = cut.survivor.sink
    sink.write(lines(4))
    monkeypatch.setattr(visible, "_LONGEST_S", 1_000.0)
    with pytest.raises(OSError, match="readers do not see the results of checkpoint 2 yet"):
        until(lambda: _prepared(sink))
    monkeypatch.setattr(visible, "_LONGEST_S", -1.0)
    with pytest.raises(Fenced, match="has left the transaction of checkpoint 2 open"):
        sink.prepare()
    assert patiently(sink.committed) == 2
    assert patiently(sink.look).fits(1, [cut.survivor.first])
    patiently(lambda: sink.restore(cut.survivor.first))
    published(sink, 3, 3, 4)
    sink.close()
    assert committed_values(cut.bootstrap, cut.survivor.topic) == [b"1", b"2", b"3", b"4"]


def _prepared(sink: KafkaSink) -> bool:
    """Prepare, once the broker answers again."""
    try:
        sink.prepare()
    except OSError as error:
        if "acknowledged" in str(error) or "readers" in str(error):
            raise
        return False
    return True


def test_an_open_transaction_of_another_program_delays_nothing(broker: str):
    topic = new_topic()
    sink = begun(broker, topic)
    place = published(sink, 1, 1)
    other = Producer({"bootstrap.servers": broker, "transactional.id": f"other-{topic}"})
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(topic, b"other")
    assert other.flush(20) == 0
    published(sink, 2, 2)
    place = published(sink, 3, 3)
    sink.close()
    again = begun(broker, topic, place)
    assert patiently(again.look).fits(3, [place])
    published(again, 4, 4)
    again.close()
    other.commit_transaction(20)
    assert committed_values(broker, topic) == [b"1", b"other", b"2", b"3", b"4"]
