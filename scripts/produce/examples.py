"""The patterns of config/orders.yaml and config/clicks.yaml: JSON as people have it. Pure; used through `patterns`."""

import zlib

import numpy as np

from scripts.produce.spec import Chunk, Ints, Spec

_KINDS = (b"order_created", b"payment_ok", b"parcel_out")
_BEHIND = np.array([0, 20, 50])
"""By how many orders the events of the three kinds are behind the newest order."""

_UNPAID = 10
"""The share of orders that are never paid and never shipped is one in this number."""

_USERS = 20_000
_PAGES = 1_000


def orders(numbers: Ints, spec: Spec, _: np.random.Generator) -> Chunk:
    """Ten orders a second of event time. Nine in ten of them are paid after two seconds, and shipped after five.

    The CRC-32 of its id decides the partition of an order, as in librdkafka, so a cluster can answer.
    """
    kinds = numbers % 3
    order = numbers // 3 - _BEHIND[kinds]
    refunds = (order < 0) | ((kinds > 0) & (order % _UNPAID == 0))
    names = [b"refund" if refund else _KINDS[kind] for kind, refund in zip(kinds.tolist(), refunds.tolist(), strict=True)]
    ids = [b"A%d" % number for number in np.maximum(order, 0).tolist()]
    rows = zip(ids, names, _stamps(spec.start + 100 * (numbers // 3) + 33 * kinds), strict=True)
    values = [b'{"id":"%s","type":"%s","meta":{"ts":"%s","by":"shop"}}' % row for row in rows]
    return Chunk(values, [zlib.crc32(each) % spec.partitions for each in ids])


def clicks(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Make a hundred clicks a second of event time, of 20,000 users."""
    users = random.integers(0, _USERS, numbers.size).tolist()
    pages = random.integers(0, _PAGES, numbers.size).tolist()
    rows = zip(_stamps(spec.start + 10 * numbers), users, pages, strict=True)
    values = [b'{"created_at":"%s","user":{"id":"u%05d"},"url":"/shop/%04d"}' % row for row in rows]
    return Chunk(values, (numbers // 100 % spec.partitions).tolist())


def _stamps(times: Ints) -> list[bytes]:
    """Return milliseconds as RFC 3339, such as 2026-11-27T10:00:00.123Z."""
    text = np.datetime_as_string(times.astype("datetime64[ms]"), unit="ms", timezone="UTC")
    stamps: list[bytes] = text.astype("S").tolist()
    return stamps
