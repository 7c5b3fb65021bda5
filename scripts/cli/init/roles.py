"""Which member of JSON records has which role of a view: guesses by the values, and among these by the names. Pure."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scripts.cli.init.members import Member

MOST_STEPS = 8
_HALF = 0.5
_MOST_NAMES = 64
_FEWEST_THINGS = 8
_AGREED = 0.8
"""The share of things in which two steps must come in the same order, for this order to be one of a process."""

_FIRST_S, _LAST_S = 631_152_000, 4_102_444_800
"""A number is a time in a unit if it is between the years 1990 and 2100 in that unit. No number is that in two units."""

_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,40})?)?([Zz]|[+-]\d\d:?\d\d)?)?")
_INT64 = 1 << 63
_LONGEST_ID = 1_000

_NAMES: dict[str, dict[float, str]] = {
    "time": {
        3: "timestamp ts time datetime occurred",
        2: "date created at",
        1: "event",
        -1: "updated modified ingested received sent",
        -6: "expires expiry birth valid due until",
    },
    "step": {4: "step", 3: "type status state action stage kind", 2: "event op", 1: "name"},
    "user": {
        4: "user uid visitor",
        3: "customer person username login",
        2: "account member client email",
        1: "session device id",
    },
    "id": {3: "id uuid sku", 2: "key product", 1: "item user name code"},
    "value": {4: "value score", 3: "amount count total points balance", 2: "price size"},
    "text": {4: "text", 3: "message body content comment", 2: "description data", 1: "title"},
    "batch": {4: "batch", 2: "job", 1: "group", 0.5: "id"},
    "segment": {4: "segment", 3: "part chunk", 2: "shard index", 0.5: "id"},
    "data": {4: "data", 3: "numbers values", 2: "items"},
}
"""By role, the words of a name, and how much each one tells."""

_HINTS = {role: {word: weight for weight, words in own.items() for word in words.split()} for role, own in _NAMES.items()}
_HINTS["type"] = _HINTS["step"]


@dataclass(frozen=True, slots=True)
class Guess:
    """A member for a role, the unit if that is the time, and how well it fits; a higher score is better."""

    member: Member
    score: float
    unit: str | None = None


def guesses(role: str, members: Sequence[Member], records: int) -> list[Guess]:
    """Return the members that can have a role, the best first.

    The values of a member must fit in at least half of the records. A role that is not known takes texts and whole numbers.
    """
    found = []
    for member in members:
        unit = unit_of(member, records) if role == "time" else None
        if role == "time" and unit is None:
            continue
        share = 1.0 if role == "time" else sum(map(_FITS.get(role, _is_id), member.values.values())) / max(1, records)
        if share < _HALF or (role in {"step", "type"} and not _are_names(member)):
            continue
        found.append(Guess(member, _hint(role, member) + share + _extra(role, member, unit), unit))
    return sorted(found, key=lambda each: (-each.score, len(each.member.names)))


def unit_of(member: Member, records: int) -> str | None:
    """Return the unit of the times in a member, the commonest one; None unless at least half of the records have a time there.

    >>> unit_of(Member("/t", ("t",), {0: 1_795_773_600_123, 1: 1_795_773_600_124}), 2)
    'ms'
    """
    units = Counter(unit for value in member.values.values() if (unit := _unit(value)) is not None)
    if not units or max(units.values()) < _HALF * records:
        return None
    return units.most_common(1)[0][0]


def instant(value: Any, unit: str) -> float | None:
    """Return a value as a number that grows with time, to compare values of one member; None if it is no time."""
    if unit != "rfc3339":
        return float(value) if _unit(value) == unit else None
    if _unit(value) != unit:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:  # such as a leap second
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _unit(value: Any) -> str | None:
    if isinstance(value, str):
        return "rfc3339" if _RFC3339.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return next((unit for unit, per_s in _PER_S.items() if _FIRST_S <= value / per_s < _LAST_S), None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _is_id(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, str) and 0 < len(value) <= _LONGEST_ID)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "step": _is_text,
    "type": _is_text,
    "text": _is_text,
    "value": _is_whole,
    "batch": _is_whole,
    "segment": lambda value: _is_whole(value) and value >= 0,
    "data": lambda value: isinstance(value, list) and all(map(_is_whole, value)),
}


def _are_names(member: Member) -> bool:
    """Whether the texts of a member are a few names that occur again and again."""
    texts = member.texts
    return 1 < len(texts) <= _MOST_NAMES and 2 * len(texts) <= sum(texts.values()) and not any(map(_unit, texts))


def _hint(role: str, member: Member) -> float:
    """Return how well the names of a member fit a role. A name that is further from the value counts for less."""
    hints = _HINTS.get(role, {})
    return sum(hints.get(word, 0.0) / (1 + 0.5 * place) for place, word in enumerate(member.words[:4]))


def _extra(role: str, member: Member, unit: str | None) -> float:
    """Return what values tell beyond their kind."""
    distinct = len(set(map(str, member.values.values()))) / max(1, len(member.values))
    match role:
        case "time":
            return 1.0 if unit == "rfc3339" or distinct > _HALF else 0.0
        case "step":
            return _few_and_even(list(member.texts.values()))
        case "text":
            return min(3.0, sum(" " in text for text in member.texts) / max(1, len(member.texts)) * 3)
        case "value":
            return -3.0 if unit_of(member, len(member.values)) else 0.0
        case "id" | "user":
            times = unit_of(member, len(member.values)) is not None
            return (-4.0 if times else 0.0) + (0.5 if distinct > 0.1 else -0.5)
        case _:
            return 0.0


def _few_and_even(counts: Sequence[int]) -> float:
    """Return how much a member is like the step of a process: it has few texts, which occur about equally often.

    >>> _few_and_even([330, 341, 329]) > _few_and_even([137] * 9) > _few_and_even([900, 10, 20, 1, 2, 3, 1, 1, 1])
    True
    """
    shares = [count / sum(counts) for count in counts]
    evenness = -sum(share * math.log(share) for share in shares) / math.log(len(shares))
    return max(-2.0, (MOST_STEPS - len(counts)) / MOST_STEPS) + 0.5 * evenness


@dataclass(frozen=True, slots=True)
class Order:
    """The texts of the steps in order of time, and how often each text occurs.

    `by` is the member by which the order is known: what happens to the same thing comes in this order. None: it is not known.
    `joins` is the member that joins the most steps at one thing, in whatever order.
    """

    texts: tuple[str, ...]
    counts: Mapping[str, int]
    by: str | None
    joins: str | None = None


def order_of(step: Member, times: Mapping[int, float], members: Iterable[Member]) -> Order:
    """Return the steps of a process in their order of time, from what happened to the same thing: to one order, to one user.

    That is the member whose values join the most steps, if nearly all of them agree. Else the steps are in order of their first
    record, which says little: the records are a window, and a process may begin anywhere in it. `times` are those of the
    records, by number. A text that never meets the others at one thing is left out, and so is a ninth one.
    """
    texts = {number: text for number, text in step.values.items() if isinstance(text, str)}
    counts = Counter(texts.values())
    paths, by = list[list[str]](), None
    for member in members:
        if member.pointer == step.pointer or unit_of(member, len(member.values)) is not None:
            continue
        own = _paths(member, texts, times)
        if len(own) > len(paths):
            paths, by = own, member.pointer
    chosen: list[str] = []
    met = {frozenset((one, other)) for path in paths for one in path for other in path}
    for text, _ in counts.most_common():
        if len(chosen) < MOST_STEPS and all(not paths or frozenset((text, each)) in met for each in chosen):
            chosen.append(text)
    before: Counter[tuple[str, str]] = Counter(
        (path[place], later) for path in paths for place in range(len(path)) for later in path[place + 1 :]
    )
    pairs = [(before[one, other], before[other, one]) for place, one in enumerate(chosen) for other in chosen[place + 1 :]]
    if not paths or sum(map(max, pairs)) < _AGREED * sum(map(sum, pairs)):
        chosen = [text for text, _ in counts.most_common(MOST_STEPS)]
        first = {text: min((times.get(number, number), number) for number in texts if texts[number] == text) for text in chosen}
        return Order(tuple(sorted(chosen, key=lambda text: first[text])), counts, None, by)
    rank = {text: sum((before[other, text] > before[text, other]) for other in chosen) for text in chosen}
    return Order(tuple(sorted(chosen, key=lambda text: (rank[text], chosen.index(text)))), counts, by, by)


def _paths(member: Member, texts: Mapping[int, str], times: Mapping[int, float]) -> list[list[str]]:
    """Return, for each value of a member with more than one step, the steps in order of their first time."""
    groups: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for number, value in member.values.items():
        if number in texts and _is_id(value):
            groups[f"{type(value).__name__}{value}"].append((times.get(number, number), number, texts[number]))
    paths = [list(dict.fromkeys(text for _, _, text in sorted(group))) for group in groups.values()]
    paths = [path for path in paths if len(path) > 1]
    return paths if len(groups) >= _FEWEST_THINGS else []  # else it is a property that many things have, such as a country


def behind_ms(times: Sequence[float], unit: str) -> float:
    """Return by how many ms a time is behind the latest one before it, at most. `times` are in order of arrival."""
    latest, most = float("-inf"), 0.0
    for time in times:
        latest = max(latest, time)
        most = max(most, latest - time)
    return most / (_PER_S.get(unit, 1) / 1_000)
