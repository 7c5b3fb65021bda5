"""The Kafka sink if another process has its id, if a right is missing, and if Kafka forgets the number of the last commit."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from confluent_kafka.cimpl import NewTopic

from actors.durability.choice import choose
from actors.kafka_trouble import Reasons
from actors.sinks.kafka.marks import group_of, last_note
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.sink import Fenced, Refused, Superseded
from actors.standing import Standing
from scripts.lab.chaos.proxy import Proxy
from tests.support.rights import guarded_broker
from tests.support.sinks import committed_values
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def name() -> str:
    return f"o-{uuid.uuid4().hex}"


def lines(*numbers: int) -> Iterator[bytes]:
    return iter([b"".join(b"%d\n" % number for number in numbers)])


def patiently(call: Callable[[], Any]) -> Any:
    """Repeat a call that fails for the moment."""

    def tried() -> list[Any]:
        try:
            return [call()]
        except OSError:
            return []

    return until(tried)[0]


def begun(bootstrap: str, topic: str, place: Any = None, **more: Any) -> KafkaSink:
    """Return a sink that has begun at a place, as a publisher begins."""
    sink = KafkaSink({"bootstrap.servers": bootstrap}, topic, transactional_id=f"tx-{topic}", on_error=lambda _: None, **more)
    patiently(sink.look)
    patiently(sink.committed)
    patiently(lambda: sink.restore(place))
    return sink


def published(sink: KafkaSink, checkpoint: int, *numbers: int) -> Any:
    """Write and commit records; return the place."""
    sink.write(lines(*numbers))
    place = patiently(sink.prepare)
    patiently(lambda: sink.commit(checkpoint))
    return place


def forget(bootstrap: str, topic: str) -> None:
    """Delete the committed number, as Kafka 4.4.0 may do when a broker is killed."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.delete_consumer_groups([f"tx-{topic}"]).values():
        done.result(20)


@pytest.mark.parametrize("first_call", ["poll", "prepare", "commit", "committed", "restore", "close", "write"])
def test_a_sink_whose_id_another_sink_took_ends_for_good_at_any_call(broker: str, name: str, first_call: str):
    older = begun(broker, name)
    place = published(older, 1, 1)
    older.write(lines(2, 3))
    if first_call == "commit":
        older.prepare()
    newer = begun(broker, name, place)
    if first_call not in ("commit", "write"):
        older.write(lines(4, 5))  # sent, and the answer has not been heard yet
    calls: dict[str, Callable[[], Any]] = {
        "poll": lambda: until(older.poll),
        "prepare": older.prepare,
        "commit": lambda: older.commit(2),
        "committed": older.committed,
        "restore": lambda: older.restore(place),
        "close": older.close,
        "write": lambda: until(lambda: older.write(lines(4)) or older.prepare() is None),
    }
    if first_call == "close":
        older.close()
    else:
        with pytest.raises(Fenced):
            calls[first_call]()
    with pytest.raises(Superseded, match="as this data_dir"):
        older.committed()
    published(newer, 2, 2, 3)
    assert committed_values(broker, name) == [b"1", b"2", b"3"]
    newer.close()


def test_each_failed_client_is_told_apart_from_a_newer_process(broker: str, name: str):
    """The broker ends a transaction that is too long with the same error as a newer process."""
    sink = begun(broker, name)
    sink._settings = {**sink._settings, "transaction.timeout.ms": 1_000}
    sink.committed()
    sink.restore(None)
    sink.write(lines(1))
    sink.write(lines(2))
    sink.prepare()

    def lost() -> bool:
        try:
            sink.commit(1)
        except Fenced:
            return True
        raise AssertionError("the transaction was to be too long")

    until(lambda: sink.poll() or _is_open_no_more(broker, name))
    assert lost()
    assert sink.look() == Standing(name, 0, None, "", sink._process)
    sink.committed()
    sink.restore(None)
    assert published(sink, 2, 1, 2)["written"] == 2
    sink.close()


def _is_open_no_more(bootstrap: str, topic: str) -> bool:
    """Whether readers of committed records may read to the end of the topic, because no transaction is open."""
    ends = []
    for isolation in ("read_committed", "read_uncommitted"):
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "x", "isolation.level": isolation})
        ends.append(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_S)[1])
        consumer.close()
    return ends[0] == ends[1]


def test_the_last_record_of_a_transaction_proves_the_commit_if_kafka_has_forgotten_its_number(broker: str, name: str):
    sink = begun(broker, name, meaning="events-1")
    place = published(sink, 7, 1, 2)
    sink.close()
    forget(broker, name)
    said: list[str] = []
    after = KafkaSink(
        {"bootstrap.servers": broker}, name, transactional_id=f"tx-{name}", meaning="events-1", on_error=said.append
    )
    standing = after.look()
    assert (standing.checkpoint, standing.mark, standing.lost, standing.meaning) == (7, place["mark"], True, "events-1")
    assert standing.fits(7, [None, place])
    assert "lost the number" in said[0]
    assert after.committed() == 7
    after.restore(place)
    assert not after.look().lost
    after.close()


def test_the_note_is_found_behind_records_of_other_programs_and_of_aborted_transactions(broker: str, name: str):
    sink = begun(broker, name)
    place = published(sink, 7, 1, 2)
    sink.write(lines(*range(500)))
    sink.prepare()
    sink.close()
    other = Producer({"bootstrap.servers": broker})
    for number in range(700):
        other.produce(name, b"%d" % number, headers={"firnline": b"{}"})
    assert other.flush(20) == 0
    forget(broker, name)
    again = KafkaSink({"bootstrap.servers": broker}, name, transactional_id=f"tx-{name}", on_error=lambda _: None)
    assert again.look().mark == place["mark"]


def test_the_group_knows_of_the_records_of_a_commit_that_was_repeated(broker: str, name: str):
    """Otherwise the loss of exactly this transaction is not seen."""
    proxy = Proxy(broker, broker)
    try:
        sink = begun(proxy.bootstrap, name)
        sink.write(lines(1))
        sink.prepare()
        proxy.stall()
        with pytest.raises(OSError, match="has not acknowledged"):
            sink.commit(1)
        proxy.mend()
        patiently(lambda: sink.commit(1))
        sink.close()
    finally:
        proxy.close()
    settings = {"bootstrap.servers": broker}
    group, last = (read(settings, name, f"tx-{name}", Reasons(settings)) for read in (group_of, last_note))
    assert group.note is not None
    assert group.note.records
    assert group.note == last.note


def test_a_checkpoint_without_new_records_fits_as_well_as_the_one_before(broker: str, name: str):
    sink = begun(broker, name)
    first = published(sink, 1, 1)
    second = published(sink, 2)
    assert first["mark"] == second["mark"]
    assert sink.look().checkpoint == 2
    sink.close()


def test_a_topic_that_was_never_committed_to_is_begun_anew(broker: str, name: str):
    sink = begun(broker, name)
    sink.write(lines(1))
    place = sink.prepare()
    sink.close()
    standing = begun(broker, name).look()
    assert (standing.mark, standing.recorded) == (None, True)
    assert not standing.fits(2, [place])
    assert standing.fits(1, [{"written": 0, "topic": name, "mark": None}])


# What a start does ---------------------------------------------------------------------------------------------------


def test_an_older_copy_is_refused_unless_it_is_forced_or_the_newest_checkpoint_is_damaged():
    ahead = Standing("out", 57, "a-9", "events-1", "a (process 1 on host)")
    refused = choose([41, 40], ahead, folder="events-1", damaged=False)
    assert not refused.newest
    assert "up to checkpoint 57" in str(refused.refused)
    assert "process 1 on host" in str(refused.refused)
    assert choose([], ahead, folder="events-1", damaged=False).refused
    for damaged, force in ((True, False), (False, True)):
        told = choose([41], Standing("out", 57, "a-9", "events-1", force=force), folder="events-1", damaged=damaged)
        assert told.newest
        assert "come twice" in str(told.doubt)


def test_other_settings_begin_without_a_question():
    assert choose([], Standing("out", 57, "a-9", "events-1"), folder="events-2", damaged=False).refused is None


def test_nothing_committed_is_the_beginning_and_nothing_recorded_is_said():
    assert choose([2, 1], Standing("out", 0, None), folder="events-1", damaged=False) == choose(
        [], None, folder="", damaged=False
    )
    told = choose([2, 1], Standing("out", 0, None, recorded=False), folder="events-1", damaged=False)
    assert told.newest
    assert "neither the number" in str(told.doubt)


# Rights and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_each_missing_right_is_named_and_a_short_transaction_is_used_or_refused(name: str):
    with guarded_broker({"transaction.max.timeout.ms": 20_000}, {}) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.plain})
        admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)
        sink = KafkaSink(kafka.as_user, name, transactional_id=f"tx-{name}", on_error=lambda _: None)

        def begin() -> None:
            sink.look()
            sink.committed()
            sink.restore(None)

        def refused() -> str:
            found: list[str] = []

            def tried() -> bool:
                try:
                    begin()
                except OSError as error:
                    found.append(str(error))
                return bool(found) and "refuses" in found[-1]

            until(tried)
            return found[-1]

        topic, group, identity = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
        steps = (
            (group, f"tx-{name}", AclOperation.DESCRIBE),
            (topic, name, AclOperation.DESCRIBE),
            (topic, name, AclOperation.READ),
            (topic, name, AclOperation.DESCRIBE_CONFIGS),
            (identity, f"tx-{name}", AclOperation.WRITE),
            (group, f"tx-{name}", AclOperation.READ),
        )
        for kind, resource, operation in steps:
            problem = refused()
            assert resource in problem, (operation, problem)
            kafka.grant(kind, resource, operation)
        patiently(begin)
        sink.write(lines(1, 2))
        with pytest.raises(Refused, match=f"WRITE topic {name}"):
            until(sink.prepare)
        with pytest.raises(Refused, match=f"WRITE topic {name}"):
            begin()
        kafka.grant(topic, name, AclOperation.WRITE)
        patiently(begin)
        assert published(sink, 1, 1, 2)["written"] == 2
        sink.close()
        slow = KafkaSink({"bootstrap.servers": kafka.plain}, name, transactional_id="slow", every_s=60, on_error=lambda _: None)
        with pytest.raises(OSError, match=r"transaction\.max\.timeout\.ms"):
            slow.committed()
        own = {"bootstrap.servers": kafka.plain, "transaction.timeout.ms": 30_000}
        with pytest.raises(OSError, match=r"kafka\.transaction\.timeout\.ms"):
            KafkaSink(own, name, transactional_id="own", on_error=lambda _: None).committed()


def test_a_compacted_topic_is_refused_with_the_reason(broker: str, name: str):
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, 1, 1, config={"cleanup.policy": "compact"})])[name].result(20)
    sink = KafkaSink({"bootstrap.servers": broker}, name, transactional_id=f"tx-{name}", on_error=lambda _: None)
    with pytest.raises(OSError, match="needs a key"):
        sink.committed()
