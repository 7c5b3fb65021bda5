"""The patterns of records that the producer can send: pure and deterministic, in chunks. Times are milliseconds.

Used by the producer, the laboratory and the tests.
"""

from collections.abc import Callable, Iterator

import numpy as np

from scripts.produce import examples, samples
from scripts.produce.spec import Chunk, Ints, Spec

_CHUNK = 30_000
_NUMBERS = 2_000_000
"""Numbers in a chunk of segments at most."""

_RUN = 100
"""Consecutive records that go to one partition, unless the pattern scatters them."""

_BURST = 10_000
_BROKEN_SHARE = 0.01
_FAR = 10**16
"""Milliseconds to a time that is plausible in no unit."""

_GAP = 1 << 34
"""Mean milliseconds between two events of `scattered`: 35 bits of each time are random, so they cannot be compressed."""

_MEAN_GAP = 1.2
"""Mean milliseconds between two events of `random`."""

_COLOURS = np.frombuffer(b"RGB", np.uint8)


def chunks(pattern: str, spec: Spec) -> Iterator[Chunk]:
    """Yield the records of a pattern. Cost: about 0.2 us a record.

    Raises KeyError for an unknown pattern.
    """
    make = PATTERNS[pattern]
    random = np.random.default_rng(spec.seed)
    size = max(_CHUNK, 30 * spec.displacement) if pattern == "shuffled" else _CHUNK
    if pattern == "segments":
        size = max(10, 10 * (_NUMBERS // max(1, 10 * spec.size)))
    first = 0
    while spec.count is None or first < spec.count:
        size_now = size if spec.count is None else min(size, spec.count - first)
        yield make(np.arange(first, first + size_now), spec, random)
        first += size_now


def _runs(numbers: Ints, spec: Spec) -> list[int]:
    """Return the partition of each record: the partitions in turn, for `_RUN` records each."""
    partitions: list[int] = ((numbers // _RUN) % spec.partitions).tolist()
    return partitions


def _records(colours: Ints, times: Ints) -> list[bytes]:
    """Write events such as `R_1685695916000`, through a matrix of digits if all times have one width. Cost: 0.1 us a record."""
    width = len(str(times.max()))
    if len(str(times.min())) != width:  # rare: the times pass a power of ten
        return [b"%c_%d" % event for event in zip(_COLOURS[colours].tolist(), times.tolist(), strict=True)]
    text = np.empty((times.size, 2 + width), np.uint8)
    text[:, 0] = _COLOURS[colours]
    text[:, 1] = ord("_")
    rest = times
    for place in range(1 + width, 1, -1):
        rest, digits = np.divmod(rest, 10)
        text[:, place] = digits + ord("0")
    records: list[bytes] = text.view(f"S{2 + width}").ravel().tolist()
    return records


def _steady(numbers: Ints, spec: Spec, _: np.random.Generator) -> Chunk:
    """R, G, B in turn, ten milliseconds apart."""
    return Chunk(_records(numbers % 3, spec.start + 10 * numbers), _runs(numbers, spec))


def _burst(numbers: Ints, spec: Spec, _: np.random.Generator) -> Chunk:
    """10,000 of one colour, then 10,000 of the next, a millisecond apart."""
    return Chunk(_records((numbers // _BURST) % 3, spec.start + numbers), _runs(numbers, spec))


def _out_of_order(numbers: Ints, spec: Spec, _: np.random.Generator) -> Chunk:
    """G, B, R in order of arrival; the time of R is the earliest."""
    place = np.array([1, 2, 0])[numbers % 3]
    return Chunk(_records(place, spec.start + 10 * (numbers - numbers % 3 + place)), _runs(numbers // 3, spec))


def _only_red(numbers: Ints, spec: Spec, _: np.random.Generator) -> Chunk:
    """R alone, so no set is ever complete."""
    return Chunk(_records(np.zeros_like(numbers), spec.start + 10 * numbers), _runs(numbers, spec))


def _shuffled(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Displace each record of the steady stream by at most `displacement` places, to a random partition."""
    order = np.argsort(np.arange(numbers.size) + random.uniform(0, spec.displacement, numbers.size), kind="stable")
    moved = numbers[order]
    values = _records(moved % 3, spec.start + 10 * moved)
    return Chunk(values, random.integers(0, spec.partitions, numbers.size).tolist())


def _scattered(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """R, G, B in turn at random times, in order; a set of them takes about 13 bytes in any compression."""
    times = spec.start + _GAP * numbers + random.integers(0, _GAP, numbers.size)
    return Chunk(_records(numbers % 3, times), _runs(numbers, spec))


def _random(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """R, G, B in turn at random milliseconds, in order; a set of them takes 1.3 bytes when it is compressed."""
    places = np.sort(random.uniform(numbers[0], numbers[-1] + 1, numbers.size))
    return Chunk(_records(numbers % 3, spec.start + (_MEAN_GAP * places).astype(np.int64)), _runs(numbers, spec))


def _junk(numbers: Ints, spec: Spec, random: np.random.Generator) -> Chunk:
    """Break one in a hundred records of the steady stream in one of many ways, or give it a time far in the future."""
    steady = _steady(numbers, spec, random)
    for place in np.flatnonzero(random.random(numbers.size) < _BROKEN_SHARE).tolist():
        kind = int(random.integers(len(_BREAKS)))
        steady.values[place] = _BREAKS[kind](steady.values[place])
    if numbers[0] == 0 and numbers.size > 1:
        steady.values[1] = b"R_" + b"1" * 1_000_000
    return steady


_BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    lambda value: b"\xff\xfe" + value,
    lambda value: value.replace(b"_", b""),
    lambda value: b"V" + value[1:],
    lambda value: value[:2] + b"yesterday",
    lambda value: value[:2] + b"-" + value[2:],
    lambda value: value[:2] + b"9" * 25,
    lambda _: b"",
    lambda value: value[:2] + b"%d" % (int(value[2:]) + _FAR),
)

PATTERNS: dict[str, Callable[[Ints, Spec, np.random.Generator], Chunk]] = {
    "steady": _steady,
    "burst": _burst,
    "out-of-order": _out_of_order,
    "only-red": _only_red,
    "shuffled": _shuffled,
    "scattered": _scattered,
    "random": _random,
    "junk": _junk,
    "top": samples.top,
    "segments": samples.segments,
    "uniques": samples.uniques,
    "words": samples.words,
    "orders": examples.orders,
    "clicks": examples.clicks,
}
"""Every pattern by name."""
