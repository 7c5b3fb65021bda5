"""A topic that is deleted and created again while the service is down."""

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conftest import Send, create_topic
from tests.support.service import service
from tests.support.waiting import PATIENCE_S, until


@pytest.mark.parametrize("partitions", [1, 3, 5])
def test_the_times_that_were_read_from_the_old_topic_are_missing_and_no_bound_is_invented(
    broker: str, send: Send, tmp_path: Path, partitions: int
):
    topic = create_topic(broker)
    first, step = 1_685_695_916_000, 10
    records = [b"%s_%d" % (b"RGB"[at % 3 : at % 3 + 1], first + step * at) for at in range(600)]
    send(broker, topic, records, [at % 3 for at in range(600)])
    folder = f"data_dir={tmp_path}"
    with service(broker, topic, folder) as running:
        until(lambda: running.stats()["records"] == 600)
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_topics([topic])[topic].result(20)
    until(lambda: topic not in admin.list_topics(timeout=PATIENCE_S).topics)
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    with service(broker, topic, folder) as again:
        missing = until(lambda: again.stats()["missing"])
        assert {lost["reason"] for lost in missing} == {"recreated"}
        for lost in missing:
            start, end = lost["span"]
            assert start is None or first <= start <= first + 600 * step
            assert end is None or first <= end
        send(broker, topic, [b"R_1685696000000", b"G_1685696000001", b"B_1685696000002"], [0, 0, 0])
        until(lambda: again.stats()["records"] == 603)
