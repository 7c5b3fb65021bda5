"""Numbers, times and texts as the commands print them, and the console that they print to."""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from config.units import NANOSECONDS

_LONGEST = 60
_MOST_TEXTS = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def console_of(columns: int, *, soft_wrap: bool = False) -> Console:
    """Return a console as wide as the terminal, or `columns` wide. Markup is off; texts may hold anything."""
    return Console(width=None if Console().is_terminal else columns, markup=False, emoji=False, soft_wrap=soft_wrap)


def write_csv(rows: Iterable[Mapping[str, Any]]) -> int:
    """Print rows as CSV as they come, with the names of the first one above them; return how many there were."""
    writer, names, count = csv.writer(sys.stdout, lineterminator="\n"), list[str](), 0
    for count, row in enumerate(rows, 1):
        if count == 1:
            names = list(row)
            writer.writerow(names)
        writer.writerow([row.get(name) for name in names])
    return count


def figure(value: float | None) -> str:
    """Write a figure in at most six characters.

    >>> figure(12), figure(12_345), figure(1_234_567), figure(None)
    ('12', '12.3k', '1.23M', '-')
    """
    if value is None:
        return "-"
    if abs(value) < 9_999.5:
        return f"{value:,.0f}"
    for unit, factor in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value / 1e12:.3g}T"


def size(nbytes: float | None) -> str:
    """Write bytes in the unit that suits them.

    >>> size(512), size(300 << 20), size(15_166_000_000), size(None)
    ('512 B', '300 MiB', '14.1 GiB', '-')
    """
    if nbytes is None:
        return "-"
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.3g} {unit}" if nbytes < 999.5 * factor else f"{nbytes / factor:,.0f} {unit}"
    return f"{nbytes:.0f} B"


def of_shard(shard: Mapping[str, Any]) -> tuple[str, str, str]:
    """Write the process that has a shard, how many records are not read yet, and the memory. A dash is not known.

    >>> of_shard({"host": "10.0.0.5", "port": 8080, "lag": 12_345, "bytes": 512})
    ('10.0.0.5:8080', '12.3k', '512 B')
    >>> of_shard({"host": None, "port": None, "lag": None, "bytes": None})
    ('-', '-', '-')
    """
    where = "-" if shard["host"] is None else f"{shard['host']}:{shard['port']}"
    return where, figure(shard["lag"]), size(shard["bytes"])


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things.

    >>> counted(1, "stream"), counted(2_000, "batch", "batches")
    ('1 stream', '2,000 batches')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def moment(time_: int, unit: str) -> str:
    """Write a time of a stream: in this century as a date of 17 characters, otherwise as its number.

    >>> moment(1_685_695_916_000, "ms"), moment(7, "batch")
    ('23-06-02 08:51:56', '7')
    >>> moment(1_685_695_915_999_999_999, "ns")
    '23-06-02 08:51:55'
    """
    seconds = time_ * NANOSECONDS[unit] // 10**9 if unit in NANOSECONDS else -1
    if 946_684_800 <= seconds < 4_102_444_800:
        return f"{_EPOCH + timedelta(seconds=seconds):%y-%m-%d %H:%M:%S}"
    return str(time_)


def instant(time_: int, unit: str) -> str:
    """Write a time of a stream with its fraction: in this century as a date, otherwise as its number.

    >>> instant(1_685_695_916_010, "ms"), instant(1_685_695_916, "s"), instant(7, "ms")
    ('2023-06-02 08:51:56.010', '2023-06-02 08:51:56', '7')
    """
    short = moment(time_, unit)
    if short == str(time_):
        return short
    per_s = 10**9 // NANOSECONDS[unit]
    return f"20{short}" + (f".{time_ % per_s:0{len(str(per_s)) - 1}}" if per_s > 1 else "")


def took(length: int, unit: str) -> str:
    """Write a duration in a stream's unit as people read it; a length of another axis stays a number.

    >>> took(20, "ms"), took(1_500, "ms"), took(90_000, "ms"), took(7, "batch")
    ('20 ms', '1.5 s', '1.5 min', '7')
    """
    if unit not in NANOSECONDS:
        return f"{length:,}"
    nanoseconds = length * NANOSECONDS[unit]
    if abs(nanoseconds) >= 10 * 10**9:
        return lasting(nanoseconds / 10**9)
    for name, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if abs(nanoseconds) >= factor:
            return f"{nanoseconds / factor:.4g} {name}"
    return f"{nanoseconds} ns" if nanoseconds else f"0 {unit}"


def lasting(seconds: float) -> str:
    """Write a duration in the unit that suits it.

    >>> lasting(24_000), lasting(90), lasting(86_400 * 40)
    ('6.7 h', '1.5 min', '40 days')
    """
    for unit, factor, most in (("s", 1.0, 90), ("min", 60.0, 90), ("h", 3_600.0, 96), ("days", 86_400.0, 800)):
        if seconds < most * factor:
            return f"{seconds / factor:.2g} {unit}" if seconds < 10 * factor else f"{seconds / factor:,.0f} {unit}"
    return f"{seconds / 31_557_600:,.0f} years"


def rounded(count: int) -> str:
    """Write an estimate to two figures.

    >>> rounded(1_234_567)
    '1.2 million'
    """
    for unit, factor in (("billion", 10**9), ("million", 10**6), ("thousand", 10**3)):
        if count >= factor:
            return f"{count / factor:.2g} {unit}" if count < 100 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count}"


def visible(text: str) -> str:
    r"""Escape control characters, which names and records may hold, so that no terminal obeys them.

    >>> visible("é [b] \x1b[2J")
    'é [b] \\x1b[2J'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def short(text: str) -> str:
    """Write text in one line of at most 60 characters, without control characters."""
    line = visible(text)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def most_common(counts: Mapping[str, int]) -> str:
    """Write the ten texts that occur most often, each with its count, and how many further ones there are.

    >>> most_common({"refund": 7, "paid": 1_200})
    'paid 1,200, refund 7'
    >>> most_common(dict.fromkeys("abcdefghijkl", 1))
    'a 1, b 1, c 1, d 1, e 1, f 1, g 1, h 1, i 1, j 1, and 2 more'
    """
    listed = ", ".join(f"{short(text)} {count:,}" for text, count in Counter(counts).most_common(_MOST_TEXTS))
    return listed + (f", and {len(counts) - _MOST_TEXTS:,} more" if len(counts) > _MOST_TEXTS else "")
