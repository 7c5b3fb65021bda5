"""The four other views and records of JSON on a real broker: against the bare loop, and against the usual way to do that work.

A row has the records a second of the loop, of the rival and of Firnline, and the view's other figures.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.checkout import ROOT
from scripts.lab.encoded import fill_encoded, stanza
from scripts.lab.measure.runs import PATIENCE_S, fill, peak_rss, percentiles, rival, rss_at_rest, service

_START_MS = 1_685_695_916_000
"""The time of the first order or click. From now on, most of them would be ahead of the clock, and kept apart."""

_ASKED = 300
_REST_S = 6.0
"""Librdkafka's queue is gone then, and the service has returned free memory to the system."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One stream: its name and configuration, the records that it is sent, and its rival."""

    stream: str
    records: int
    partitions: int
    rival: str
    doing: str
    asked: str
    config: str = "default"
    encoded: bool = False
    """Whether the records have a schema."""


CONTESTS = {
    "top": Contest("dataset", 1_000_000, 10, "redis", "Redis, pipelined ZADD", "/dataset?limit=10"),
    "segments": Contest("segments", 100_000, 10, "segments", "ten threads, json, heapq.merge", "/segments/pending"),
    "uniques": Contest("uniques", 1_000_000, 3, "uniques", "msgspec, Python sets", "/uniques?granularity=hour"),
    "words": Contest("words", 1_000_000, 3, "words", "json, Counter", "/events/CountWords?limit=10"),
    "orders": Contest("orders", 1_000_000, 3, "orders", "msgspec, dicts by key", "/orders?by=hour", "orders"),
    "avro": Contest("orders", 300_000, 3, "avro", "fastavro, dicts by key", "/orders?by=hour", "orders", encoded=True),
    "protobuf": Contest("orders", 300_000, 3, "protobuf", "protobuf, dicts by key", "/orders?by=hour", "orders", encoded=True),
    "clicks": Contest("visitors", 1_000_000, 3, "clicks", "msgspec, Python sets", "/visitors?granularity=hour", "clicks"),
}
"""By the producer's pattern. `orders` and `clicks` are JSON by a `record` stanza, `avro` and `protobuf` the same orders."""


def contest(name: str, bootstrap: str, rounds: int, budget: str, records: int | None = None) -> dict[str, Any]:
    """Run loop, rival and product by turns, over `records` records. Return medians, and ratios by round."""
    plan = CONTESTS[name] if records is None else replace(CONTESTS[name], records=records)
    topic = f"bench-{name}-{plan.records}"
    if plan.encoded:
        fill_encoded(bootstrap, topic, name, plan.records, plan.partitions, _START_MS)
    else:
        start = ("--start", str(_START_MS)) if plan.config != "default" else ()
        fill(bootstrap, topic, name, plan.records, plan.partitions, *start)
    floors, rivals, products = [], [], []
    for _ in range(rounds):
        floors.append(rival("floor", bootstrap, topic, plan.records))
        rivals.append(rival(plan.rival, bootstrap, topic, plan.records))
        products.append(_product(name, plan, bootstrap, topic, budget))
    figures: dict[str, Any] = {
        "records": plan.records,
        "rival": plan.doing,
        "floor_per_s": statistics.median(each["per_s"] for each in floors),
        "rival_per_s": statistics.median(each["per_s"] for each in rivals),
        "product_per_s": statistics.median(each["per_s"] for each in products),
        "of_floor": statistics.median(ours["per_s"] / each["per_s"] for ours, each in zip(products, floors, strict=True)),
        "of_rival": statistics.median(ours["per_s"] / each["per_s"] for ours, each in zip(products, rivals, strict=True)),
        "peak_rss_bytes": max(each["peak_rss_bytes"] for each in products),
        "asked": plan.asked,
        "asked_ms": percentiles([ms for each in products for ms in each["asked_ms"]]),
    }
    if name == "top":
        figures["bytes_an_id"] = statistics.median(each["grown_bytes"] / plan.records for each in products)
        figures["rival_bytes_an_id"] = rivals[0]["bytes_an_id"]
        figures["rival_top_ms"] = rivals[0]["top_ms"]
    if name == "uniques":
        figures["rival_rss_bytes"] = rivals[0]["rss_bytes"]
        figures["piped_per_s"] = _piped(plan)
    return figures


def _product(name: str, plan: Contest, bootstrap: str, topic: str, budget: str) -> dict[str, Any]:
    """Run the service over the topic until the last record is in its slice, then query it."""
    with tempfile.TemporaryDirectory() as folder:
        output = f"streams.{plan.stream}.output={{file: {folder}/out.txt}}"
        more = [f"streams.{plan.stream}.record={stanza(name, Path(folder))}"] if plan.encoded else []
        with service(plan.stream, bootstrap, topic, budget, output, *more, config=plan.config) as (process, client):
            before = process.memory_info().rss
            *_, stats = client.ingestion(plan.stream, plan.records)
            rss = rss_at_rest(process, _REST_S)
            client.get(plan.asked)
            return {
                "per_s": plan.records / (stats["lastBatchAt"] - stats["firstRecordAt"]),
                "peak_rss_bytes": peak_rss(process),
                "grown_bytes": rss - before,
                "asked_ms": [client.timed(plan.asked) for _ in range(_ASKED)],
            }


def _piped(plan: Contest) -> float:
    """Return frames a second of `cat frames | serve --once`, less the time that the process takes without input."""
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.jsonl"
        with frames.open("wb") as file:
            command = [sys.executable, str(ROOT / "scripts" / "producer.py"), "--pattern", "uniques", "--stdout"]
            subprocess.run([*command, "--count", str(plan.records)], check=True, stdout=file)
        serve = [sys.executable, str(ROOT / "scripts" / "serve.py"), "--config", str(ROOT / "config" / "uniques.yaml")]
        command = [*serve, "--once", "--set", "http.port=0"]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        idle = time.perf_counter() - began
        with subprocess.Popen(["/bin/cat", str(frames)], stdout=subprocess.PIPE) as cat:
            done = subprocess.run(command, check=True, stdin=cat.stdout, capture_output=True, timeout=PATIENCE_S)
        seconds = time.perf_counter() - began - 2 * idle
        if done.stdout.count(b'"granularity":"minute"') < plan.records // 100_000:
            raise ValueError(f"too few results: {done.stdout[:200]!r}")
        return plan.records / seconds
