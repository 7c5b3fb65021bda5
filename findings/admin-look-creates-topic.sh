#!/usr/bin/env bash
# confluent-kafka: `list_topics(topic)` of an AdminClient or a Producer creates the topic, if the broker may create topics.
#
# A broker may do so by default. The same call of a Consumer creates nothing, nor does `AdminClient.describe_topics`. The
# setting `allow.auto.create.topics` is documented as one of consumers alone, and there it is false by default. It decides for
# an AdminClient and a Producer too, and there it is true: a tool that only looks whether a topic exists makes it exist, with the
# broker's number of partitions.
# Seen with confluent-kafka 2.16.1 (its own librdkafka) and Apache Kafka 4.1.0. Needs Java 17 and Maven.
set -euo pipefail
folder=$(mktemp -d)
broker=
finish() {
  if [ -n "$broker" ]; then kill "$broker" 2> "$folder/kill.log" || true; wait "$broker" 2> "$folder/wait.log" || true; fi
  rm -rf "$folder"
}
trap finish EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
cat > "$folder/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
</dependencies></project>
XML
mvn -q -B -f "$folder/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$folder/jars"
read -r port controller < <(python3 -c 'import socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 0)); b.bind(("127.0.0.1", 0)); print(a.getsockname()[1], b.getsockname()[1])')
cat > "$folder/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$folder/data
offsets.topic.replication.factor=1
num.partitions=3
CONF
id=$(java -cp "$folder/jars/*" kafka.tools.StorageTool random-uuid 2> "$folder/uuid.log")
java -cp "$folder/jars/*" kafka.tools.StorageTool format -t "$id" -c "$folder/server.properties" > "$folder/format.log" 2>&1
java -Xmx512m -cp "$folder/jars/*" kafka.Kafka "$folder/server.properties" > "$folder/broker.log" 2>&1 &
broker=$!
"$folder/venv/bin/python" - "127.0.0.1:$port" <<'PYTHON'
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

settings = {"bootstrap.servers": sys.argv[1], "log_level": 0}
admin = AdminClient(settings)
deadline = time.monotonic() + 120
while True:
    try:
        if admin.list_topics(timeout=2).brokers:
            break
    except KafkaException:
        pass
    if time.monotonic() > deadline:
        sys.exit("the broker has not started")


def described(topic: str) -> None:
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result()
    except KafkaException as error:
        assert error.args[0].name() == "UNKNOWN_TOPIC_OR_PART", error


forbids = {**settings, "allow.auto.create.topics": False}
consumer = Consumer({**settings, "group.id": "looks"})
looks = {
    "admin.list_topics": lambda topic: admin.list_topics(topic, timeout=10),
    "admin.list_topics, not allowed": lambda topic: AdminClient(forbids).list_topics(topic, timeout=10),
    "admin.describe_topics": described,
    "producer.list_topics": lambda topic: Producer(settings).list_topics(topic, timeout=10),
    "producer.list_topics, not allowed": lambda topic: Producer(forbids).list_topics(topic, timeout=10),
    "consumer.list_topics": lambda topic: consumer.list_topics(topic, timeout=10),
}
for number, look in enumerate(looks.values()):
    look(f"looked-at-{number}")
consumer.close()
creating = {"admin.list_topics", "producer.list_topics"}
deadline = time.monotonic() + 20
while True:  # a topic that is created appears a moment later
    topics = admin.list_topics(timeout=10).topics
    seen = {name: f"looked-at-{number}" in topics for number, name in enumerate(looks)}
    if {name for name, created in seen.items() if created} >= creating or time.monotonic() > deadline:
        break
    time.sleep(0.2)
for name, created in seen.items():
    print(f"{name:34} {'created the topic' if created else 'created nothing'}")
sys.exit("the behaviour has changed" if {name for name, created in seen.items() if created} != creating else 0)
PYTHON
