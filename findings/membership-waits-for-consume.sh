#!/usr/bin/env bash
# confluent-kafka: memberid() and consumer_group_metadata() wait while another thread is in consume() or poll() of the consumer.
#
# A callback such as on_revoke runs within consume(). If it waits for a thread that commits a transaction in the name of the
# group, as one does that has to finish its work before a partition is given away, that thread waits in
# consumer_group_metadata() for the callback: neither goes on until one of them gives up. The same call on the thread of the
# callback returns at once.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock broker is the broker here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time

from confluent_kafka import Consumer, Producer

WAIT_S = 3.0

mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics(timeout=10).brokers.values()
mock.produce("t", b"a", partition=0)
assert mock.flush(10) == 0
settings = {"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "g", "log_level": 0}
took: dict[str, float] = {}


def timed(name: str, call: object) -> None:
    began = time.monotonic()
    call()
    took[name] = time.monotonic() - began


def on_assign(consumer: Consumer, places: list) -> None:
    consumer.assign(places)
    for name in ("memberid", "consumer_group_metadata"):
        call = getattr(consumer, name)
        timed(f"{name}, thread of the callback", call)
        asking = threading.Thread(target=timed, args=(f"{name}, another thread", call))
        asking.start()
        asking.join(WAIT_S)
        threads.append(asking)


threads: list[threading.Thread] = []
consumer = Consumer(settings)
consumer.subscribe(["t"], on_assign=on_assign)
deadline = time.monotonic() + 60
while not threads and time.monotonic() < deadline:
    consumer.consume(1, 0.1)
for each in threads:
    each.join(30)
consumer.close()
for name, seconds in sorted(took.items()):
    print(f"{name:46} {'at once' if seconds < 0.5 else f'after {seconds:.1f} s'}")
waited = {name for name, seconds in took.items() if seconds > 0.9 * WAIT_S}
expected = {name for name in took if name.endswith("another thread")}
sys.exit("the behaviour has changed" if len(took) != 4 or waited != expected else 0)
PYTHON
