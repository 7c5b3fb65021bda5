"""The values and the rank of ids over HTTP, against the records."""

import csv
import io
import json
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.support.service import Service, service

HELD = {f"id {number}%é": (number * 7919) % 40 - 20 for number in range(100)}
ORDER = sorted(HELD, key=lambda name: (HELD[name], name.encode()), reverse=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("in") / "items"
    path.write_text("".join(f"{name}_0\n{name}_{value}\n" for name, value in HELD.items()), encoding="utf-8")
    with service(None, None, f"streams.dataset.source={{file: {path}}}", stream="dataset") as served:
        served.settled(2 * len(HELD), "dataset")
        yield served


def test_ids_come_with_their_values_where_asked_and_without_by_default(running: Service):
    wanted = [{"id": name, "value": HELD[name]} for name in ORDER]
    assert running.get("/dataset?values=1")["data"] == wanted
    assert running.get("/dataset")["data"] == ORDER
    assert running.get("/dataset?values=0&limit=3")["data"] == ORDER[:3]
    lines = running.request("/dataset?values=1&limit=4&format=ndjson")[2].decode().splitlines()
    assert [json.loads(line) for line in lines] == wanted[:4]
    for values in ("", "&values=1"):
        table = csv.DictReader(io.StringIO(running.request(f"/dataset?format=csv{values}")[2].decode()))
        assert [(row["id"], int(row["value"])) for row in table] == [(row["id"], row["value"]) for row in wanted]


def test_one_id_has_its_value_and_its_rank(running: Service):
    for rank, name in enumerate(ORDER, 1):
        found = running.get(f"/dataset/{urllib.parse.quote(name)}")
        assert found == {"id": name, "value": HELD[name], "rank": rank}


@pytest.mark.parametrize("name", ["unknown", "a_b", "id%200", "%FF", "x" * 10_000])
def test_an_id_without_a_value_is_404(running: Service, name: str):
    status, _, body = running.request(f"/dataset/{name}")
    assert (status, json.loads(body)["error"]["expected"]) == (404, "an id with a value")
