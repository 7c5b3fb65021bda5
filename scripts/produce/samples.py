"""The patterns for the views top, segments, uniques and words. Pure and deterministic; used through `patterns`."""

import msgspec
import numpy as np

from scripts.produce.spec import Chunk, Ints, Spec

_MASK = 0x9E3779B97F4A7C15
_BROKEN_SHARE = 0.001
_TYPES = np.array(["foo", "bar", "baz"])
_WORDS = np.array(["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "eiusmod"])


def top(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Ids of 36 characters, each once, with random values. The id decides the partition."""
    mixed = numbers.astype(np.uint64) * np.uint64(_MASK)
    text = np.char.add(np.char.mod("%08x", numbers), "-0000-4000-8000-").astype("S")
    values = random.integers(-(10**9), 10**9, numbers.size).tolist()
    heads, tails = text.tolist(), (mixed >> np.uint64(16)).tolist()
    records = [b"%s%012x_%d" % record for record in zip(heads, tails, values, strict=True)]
    return Chunk(records, (numbers % spec.partitions).tolist())


def segments(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Ten segments a batch, of `size` numbers each. Batches are interleaved, and some partitions are ahead of others."""
    batches, places = numbers // 10 + 1, numbers % 10
    order = np.argsort(batches + 0.5 * places + random.uniform(0, 1, numbers.size), kind="stable")
    batches, places = batches[order], places[order]
    values = []
    for batch, place in zip(batches.tolist(), places.tolist(), strict=True):
        data = np.sort(random.integers(0, 10**6, spec.size)).tolist()
        values.append(msgspec.json.encode({"batch_id": batch, "segment_id": place, "data": data}))
    return Chunk(values, (places % spec.partitions).tolist())


def uniques(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Make 1,000 frames a second of event time, of 100,000 users. Some are late; one in a thousand is broken."""
    delayed = random.random(numbers.size) < spec.delay_probability
    times = spec.start // 1000 + numbers // 1000 - np.where(delayed, random.integers(1, 2 + spec.delay_s, numbers.size), 0)
    users = random.integers(0, 100_000, numbers.size)
    pages = random.integers(0, 1_000, numbers.size)
    rows = zip(times.tolist(), users.tolist(), pages.tolist(), strict=True)
    values = [
        b'{"v":3,"ctx":{"page":"/shop/%04d","ts":0,"uid":"-","ref":"https://example.com/?q=1"},"ts":%d,"uid":"u%019d",'
        b'"tags":["a","b"],"agent":"Mozilla/5.0"}' % (page, time, user)
        for time, user, page in rows
    ]
    _break(values, random)
    return Chunk(values, (numbers // 100 % spec.partitions).tolist())


def words(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Ten events a second of event time, of three types, with three words each. One in a hundred is broken."""
    kinds = _TYPES[random.integers(0, _TYPES.size, numbers.size)].tolist()
    data = _WORDS[np.minimum(random.geometric(0.25, (numbers.size, 3)) - 1, _WORDS.size - 1)].tolist()
    times = (spec.start // 1000 + numbers // 10).tolist()
    rows = zip(kinds, data, times, strict=True)
    values = [
        b'{"event_type": "%s", "data": "%s", "timestamp": %d}' % (kind.encode(), " ".join(row).encode(), time)
        for kind, row, time in rows
    ]
    _break(values, random, share=0.01)
    return Chunk(values, (numbers // 100 % spec.partitions).tolist())


def _break(values: list[bytes], random: np.random.Generator, share: float = _BROKEN_SHARE) -> None:
    """Break a share of the records: cut the end off, or insert a byte that is not UTF-8."""
    for place in np.flatnonzero(random.random(len(values)) < share).tolist():
        value = values[place]
        cut = int(random.integers(1, len(value)))
        values[place] = value[:cut] if random.random() < 0.5 else value[:cut] + b"\xff" + value[cut:]
