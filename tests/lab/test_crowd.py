"""Queries beside idle connections and event streams while events come in: a short run of `scripts/lab/measure/crowd.py`."""

import json
import subprocess

import pytest

from tests.support.service import command

IDLE, STREAMS = 500, 50


@pytest.mark.long
@pytest.mark.broker
def test_queries_are_answered_beside_a_crowd_of_connections(broker: str):
    words = [
        "--idle",
        str(IDLE),
        "--streams",
        str(STREAMS),
        "--rate",
        "2000",
        "--seconds",
        "3",
        "--json",
        "--bootstrap",
        broker,
    ]
    done = subprocess.run(command("lab/measure/crowd", *words), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    crowd, figures = found["crowd"], found["figures"]
    assert (crowd["idle"], crowd["streams"], crowd["there"]) == (IDLE, STREAMS, IDLE + STREAMS)
    assert crowd["stream_bytes"] > STREAMS * 1_000
    among = figures["with the crowd"]
    assert among["events"] > 0
    assert among["ms"]["get-stats"]["p99"] < 3_000, (
        "250 ms where the machine is quiet; `scripts/lab/measure/crowd.py` measures it"
    )
    assert among["rss_bytes"] - figures["before"]["rss_bytes"] < 40 << 20
