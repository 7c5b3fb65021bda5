#!/usr/bin/env bash
# confluent-kafka: `AdminClient.list_offsets` ends without an error if a broker does not answer within `request_timeout`.
#
# The future's result then has the offset -1001. Other requests, such as `describe_topics`, raise a KafkaException with the code
# _TIMED_OUT in the same situation. A program that catches exceptions takes the silence of a broker for an answer.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock broker is the broker here. It is stopped by SIGSTOP.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

BROKER = """
import time
from confluent_kafka import Producer
mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics(timeout=10).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
time.sleep(120)
"""
broker = subprocess.Popen([sys.executable, "-c", BROKER], stdout=subprocess.PIPE, text=True)
try:
    settings = {"bootstrap.servers": broker.stdout.readline().strip(), "log_level": 0}
    producer = Producer(settings)
    producer.produce("t", b"a", partition=0)
    assert producer.flush(10) == 0
    admin = AdminClient(settings)
    place = TopicPartition("t", 0)

    def listed() -> object:
        try:
            return admin.list_offsets({place: OffsetSpec.latest()}, request_timeout=2)[place].result().offset
        except KafkaException as error:
            return error.args[0].name()

    def described() -> object:
        try:
            return admin.describe_topics(TopicCollection(["t"]), request_timeout=2)["t"].result().name
        except KafkaException as error:
            return error.args[0].name()

    running = listed()
    os.kill(broker.pid, signal.SIGSTOP)
    while Path(f"/proc/{broker.pid}/stat").read_text().split()[2] != "T":
        time.sleep(0.01)
    stopped, other = listed(), described()
finally:
    os.kill(broker.pid, signal.SIGCONT)
    broker.kill()
    broker.wait()
print(f"list_offsets of a running broker: {running}; of a stopped one: {stopped}; describe_topics of a stopped one: {other}")
sys.exit((running, stopped, other) != (1, -1001, "_TIMED_OUT"))
PYTHON
