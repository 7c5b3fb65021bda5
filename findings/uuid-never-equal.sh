#!/usr/bin/env bash
# Two Uuid objects of confluent-kafka with the same bits are not equal, although their hashes and texts are.
#
# `describe_topics` makes a new Uuid at each call. So code that compares the id of a topic with the one of the call before
# finds a new topic each time, and code that compares it with Uuid(0, 0), which brokers before Kafka 2.8 send, never finds that
# a broker has no ids. A set holds the same id as often as it is added.
# Seen with confluent-kafka 2.16.1: Uuid(1, 2) == Uuid(1, 2) is False; hashes and texts are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from confluent_kafka import Uuid

one, other = Uuid(1, 2), Uuid(1, 2)
seen = {
    "equal": one == other,
    "hashes equal": hash(one) == hash(other),
    "texts equal": str(one) == str(other),
    "members of a set of both": len({one, other}),
}
for name, shown in seen.items():
    print(f"{name}: {shown}")
sys.exit("the behaviour has changed" if list(seen.values()) != [False, True, True, 2] else 0)
PYTHON
