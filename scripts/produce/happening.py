"""Records of things that happen now, for every view: what `serve --demo` reads. Each is sent at the time that it has.

So no record is late, and none is ahead of the clock. The same seed makes the same things, at the times of another start.
"""

import heapq
import itertools
import math
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer

_ORDERS = 30.0
_USERS = 50.0
_EVENTS = 40.0
_PRODUCTS = 5.0
_CARTS = 10.0
"""Things a second."""

_PAID, _SHIPPED = 0.9, 0.95
_BATCH_S = 2.0
_SEGMENTS = 10
_NUMBERS = 50
_USERS_IN_ALL = 20_000
_PRODUCTS_IN_ALL = 300
_TYPES = ("visit", "search", "cart")
_WORDS = re.findall(
    r"\w+",
    "red green blue black white grey brown pink shoe shirt hat scarf coat glove belt bag sock skirt dress jacket small large "
    "long short wool silk linen cotton leather sale new old warm light soft plain striped formal winter summer",
)
_POLL_S = 0.05


class Record(NamedTuple):
    """A record, and its time: seconds since 1970. Records of one `key` go to one partition."""

    at: float
    value: bytes
    key: int


def _sets(start: float, chance: random.Random) -> Iterator[Record]:
    """Thirty times a second something becomes red, some 0.3 s later green, and some 1 s later blue."""
    due: list[tuple[float, str]] = []
    red = start
    while True:
        red += chance.expovariate(_ORDERS)
        while due and due[0][0] <= red:
            at, name = heapq.heappop(due)
            yield Record(at, f"{name}_{math.floor(at * 1000)}".encode(), chance.randrange(3))
        green = red + chance.lognormvariate(-1.4, 0.5)
        heapq.heappush(due, (red, "R"))
        heapq.heappush(due, (green, "G"))
        heapq.heappush(due, (green + chance.lognormvariate(-0.2, 0.4), "B"))


def _top(start: float, chance: random.Random) -> Iterator[Record]:
    """Five times a second a product is sold: its value is how often."""
    sold = [0] * _PRODUCTS_IN_ALL
    at = start
    while True:
        at += chance.expovariate(_PRODUCTS)
        number = min(int(chance.paretovariate(1.0)) - 1, _PRODUCTS_IN_ALL - 1)
        sold[number] += 1
        yield Record(at, f"product-{number:03}_{sold[number]}".encode(), number)


def _segments(start: float, chance: random.Random) -> Iterator[Record]:
    """Every two seconds a batch of ten segments. Its number is its time, so that a second run has other numbers."""
    for batch in range(math.ceil(start / _BATCH_S), 1 << 62):
        for place in range(_SEGMENTS):
            data = sorted(chance.sample(range(10_000), _NUMBERS))
            value = {"batch_id": batch, "segment_id": place, "data": data}
            yield Record(batch * _BATCH_S + place * _BATCH_S / _SEGMENTS, msgspec.json.encode(value), place)


def _uniques(start: float, chance: random.Random) -> Iterator[Record]:
    """Fifty visits a second; some users come much more often than others."""
    at = start
    while True:
        at += chance.expovariate(_USERS)
        user = int(_USERS_IN_ALL * chance.random() ** 3)
        yield Record(at, msgspec.json.encode({"ts": math.floor(at), "uid": f"u{user:05}"}), user)


def _words(start: float, chance: random.Random) -> Iterator[Record]:
    """Forty events a second, each with three words."""
    at = start
    while True:
        at += chance.expovariate(_EVENTS)
        words = [_WORDS[min(int(chance.expovariate(0.06)), len(_WORDS) - 1)] for _ in range(3)]
        value = {"event_type": chance.choice(_TYPES), "data": " ".join(words), "timestamp": math.floor(at)}
        yield Record(at, msgspec.json.encode(value), chance.randrange(3))


def _funnel(start: float, chance: random.Random) -> Iterator[Record]:
    """Ten times a second something is ordered; nine in ten orders are paid some 2 s later, and most of these shipped 4 s later.

    The number of an order has the time of the start, so that a second run has other orders. Its CRC-32 decides the partition,
    as in librdkafka, so a cluster can answer.
    """
    due: list[tuple[float, int, str]] = []
    at = start
    for number in itertools.count():
        at += chance.expovariate(_CARTS)
        heapq.heappush(due, (at, number, "order_created"))
        if chance.random() < _PAID:
            paid = at + chance.lognormvariate(0.7, 0.5)
            heapq.heappush(due, (paid, number, "payment_ok"))
            if chance.random() < _SHIPPED:
                heapq.heappush(due, (paid + chance.lognormvariate(1.4, 0.4), number, "parcel_out"))
        while due[0][0] <= at:
            then, order, kind = heapq.heappop(due)
            stamp = datetime.fromtimestamp(math.floor(then * 1000) / 1000, UTC).isoformat(timespec="milliseconds")
            name = f"A{math.floor(start)}-{order}"
            value = {"id": name, "type": kind, "meta": {"ts": stamp, "by": "shop"}}
            yield Record(then, msgspec.json.encode(value), zlib.crc32(name.encode()))


VIEWS: Mapping[str, Callable[[float, random.Random], Iterator[Record]]] = {
    "sets": _sets,
    "top": _top,
    "segments": _segments,
    "uniques": _uniques,
    "words": _words,
    "funnel": _funnel,
}
"""What happens, by the view that reads it."""


def happening(view: str, start: float, seed: int = 0) -> Iterator[Record]:
    """Yield the records of a view from `start` on, in order of time, without end. Raises KeyError for an unknown view."""
    return VIEWS[view](start, random.Random(f"{seed} {view}"))


def send(bootstrap: str, topics: Mapping[str, tuple[str, int]], seed: int, stop: threading.Event) -> None:
    """Send each record at its time, until `stop`. `topics` has the view, and the partitions, of each topic."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 10, "log_level": 3})
    now = time.time()
    streams = [_named(topic, *topics[topic], now, seed) for topic in topics]
    for at, topic, value, partition in heapq.merge(*streams):
        while not stop.is_set() and (left := at - time.time()) > 0:
            producer.poll(min(left, _POLL_S))
        if stop.is_set():
            break
        producer.produce(topic, value, partition=partition)
    producer.flush(5)


def _named(topic: str, view: str, partitions: int, now: float, seed: int) -> Iterator[tuple[float, str, bytes, int]]:
    return ((each.at, topic, each.value, each.key % partitions) for each in happening(view, now, seed))
