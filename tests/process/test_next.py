"""Each message of trouble names what to do next, and the default configuration leaves nothing outside of its own folder."""

import json
import socket
import tempfile
from pathlib import Path
from typing import get_args

import pytest

from actors.replies import NEXT, Troubled
from config.load import load
from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from scripts.service.run import listen
from tests.conftest import Send, create_topic
from tests.support.service import Service, free_port, service
from tests.support.waiting import until


def ready(running: Service) -> dict[str, object]:
    found: dict[str, object] = json.loads(running.request("/readyz")[2])["streams"]["events"]
    return found


def test_each_kind_of_trouble_has_a_next_step():
    assert set(NEXT) == set(get_args(Troubled))


def test_a_missing_topic_names_the_next_step_until_the_topic_is_there(broker: str, send: Send):
    name = create_topic(broker) + "-absent"
    with service(broker, name) as running:
        found = until(lambda: each if "next" in (each := ready(running)) else None)
        assert found["state"] == "waiting for the topic"
        assert found["next"] == NEXT["absent"] == running.stats()["trouble"]["next"]
        _, log = running.stop()
    assert NEXT["absent"] in log
    assert f"there is no topic {name}" in log
    with service(broker, name, "streams.events.source.partitions=1") as running:  # the step that the message names
        until(lambda: ready(running)["state"] == "at the end")
        assert "next" not in ready(running)


def test_a_broker_that_is_away_names_the_next_step():
    with service(f"127.0.0.1:{free_port()}", "t") as running:
        found = until(lambda: each if (each := ready(running))["state"] == "unreachable" else None)
        assert found["next"] == NEXT["unreachable"]
        assert "Connection refused" in str(found["reasons"])


@pytest.mark.parametrize(("host", "said"), [("192.0.2.1", "--set http.host=127.0.0.1"), ("127.0.0.1", "--set http.port=")])
def test_an_address_that_cannot_be_used_names_another_one(host: str, said: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = load(None, [f"http.host={host}", f"http.port={taken.getsockname()[1]}"], {})
        with pytest.raises(ValueError, match=said):
            listen(settings)


def test_results_of_the_default_configuration_are_beside_its_checkpoints(broker: str, topic: str, send: Send):
    (chunk,) = chunks("segments", Spec(20, 0, 3))
    send(broker, topic, chunk.values, chunk.partitions)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        with service(broker, topic, f"data_dir={here}/.firnline/data", stream="segments", cwd=here) as running:
            until(lambda: len(running.get("/segments")["segments"]) == 2)
            until(lambda: running.request("/segments/1")[0] == 200)
        assert [path.name for path in here.iterdir()] == [".firnline"]
        assert len((here / ".firnline" / "output.txt").read_text().splitlines()) == 2
