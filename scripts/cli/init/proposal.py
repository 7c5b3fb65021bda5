"""A stanza for the newest records of a topic: the view, the form of the records, and what of it is a guess. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
from pydantic import ValidationError

from config.records import Record
from config.settings import Settings
from config.streams import STREAMS, Stream
from scripts.cli.configuration.tried import tried
from scripts.cli.init.members import Member, members_of
from scripts.cli.init.roles import MOST_STEPS, Guess, Order, behind_ms, guesses, instant, order_of
from scripts.cli.printing import most_common
from scripts.cli.topic_records import Given

_ENOUGH = 0.5
_STEP_TIME = re.compile(r"([!-^`-~]{1,32})_(\d{1,19})")
_NOT_IN_NAMES = re.compile(r"[^!-^`-~]")
_LATENESS_MS = (1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)
_USUAL_LATENESS_MS = 500
_SHOWN = 60
_MOST_SEGMENTS = 10_000
_KEY = "key"
_WITHIN = "1h"
_FRAME = 5
_FRAMED = "records with a schema id"
_NO_OBJECTS = "JSON values that are no objects"
_ADVICE = {
    _FRAMED: ": docs/schemas.md has the stanza `record` of Avro and of Protobuf",
    _NO_OBJECTS: ": write the stanza `record` by docs/records.md, with fields such as /0",
}
_SEGMENTS = "that make a batch: one more than the largest number of a segment"


@dataclass(frozen=True, slots=True)
class Proposal:
    """The stanza of a stream as YAML has it, a remark for some of its keys, and how many of the records it reads as events.

    `doubts` has what could not be guessed, a line each.
    """

    stanza: Mapping[str, Any]
    remarks: Mapping[str, str]
    events: int
    doubts: Sequence[str] = ()


Choose = Callable[[str, Sequence[Guess]], Guess | None]
"""Returns the member of a role out of the guesses, the best first; None: no member."""

Arrange = Callable[[Order], Sequence[str]]
"""Returns the texts of the steps in order."""


def best(_: str, found: Sequence[Guess]) -> Guess | None:
    """Return the best guess."""
    return found[0] if found else None


def as_found(order: Order) -> Sequence[str]:
    """Return the steps in the order that was found."""
    return order.texts


def stream_of(stanza: Mapping[str, Any]) -> Stream:
    """Return a stanza as the configuration reads it. Raises ValueError if it is wrong."""
    try:
        return Settings.model_validate({"streams": {"s": stanza}}).streams["s"]
    except ValidationError as error:
        raise ValueError("; ".join(str(each["msg"]) for each in error.errors(include_url=False))) from None


def kind_of(records: Sequence[Given]) -> Literal["text", "json", "neither"]:
    """Return what most of the records are: lines such as `created_1795773600000`, JSON objects, or neither."""
    values = [record.value or b"" for record in records]
    if sum(value.lstrip()[:1] == b"{" for value in values) >= _ENOUGH * len(values):
        return "json"
    lines = [_line(value) for value in values]
    return "text" if sum(line is not None and "_" in line for line in lines) >= _ENOUGH * len(values) else "neither"


def view_for(records: Sequence[Given]) -> str:
    """Return the view that fits the records best."""
    if kind_of(records) == "text":
        heads = Counter(found[1] for record in records if (found := _STEP_TIME.fullmatch(_line(record.value or b"") or "")))
        return "sets" if 1 < len(heads) <= MOST_STEPS and sum(heads.values()) >= _ENOUGH * len(records) else "top"
    for view in STREAMS:
        if _own_form(view, records) is not None and view != "sets":
            return view
    members = members_of([record.value or b"" for record in records])
    fits = {role: guesses(role, members, len(records)) for role in ("step", "user", "data", "batch")}
    if fits["data"] and fits["batch"]:
        return "segments"
    if fits["step"]:
        return "sets"
    return "uniques" if fits["user"] and fits["user"][0].score > 1 else "top"


def propose(topic: str, view: str, records: Sequence[Given], choose: Choose = best, arrange: Arrange = as_found) -> Proposal:
    """Return a stanza of `view` for the topic, by its newest records, in order of their times in Kafka.

    Raises ValueError if no stanza reads at least half of the records as events.
    """
    own = _own_form(view, records, topic, arrange)
    if own is not None:
        return own
    if kind_of(records) != "json":
        kinds = Counter(_kind(record.value or b"") for record in records)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise ValueError(
            f"expected JSON objects, or records in the form of {view} (docs/views/{view}.md), as at least half of the newest "
            f"{len(records)}, got {counts}{_ADVICE.get(kinds.most_common(1)[0][0], '')}"
        )
    members = members_of([record.value or b"" for record in records])
    stanza, remarks, doubts = _of_json(topic, view, members, records, choose, arrange)
    events = _events(stanza, records)
    found = tried(stream_of(stanza), records)
    if not events:
        reason = next((each.reason for each in found if each.reason), "all are other")
        raise ValueError(f"the newest {len(records)} records have no event of {view} by these members: {reason}")
    return Proposal(stanza, remarks, events, doubts)


def _own_form(view: str, records: Sequence[Given], topic: str = "t", arrange: Arrange = as_found) -> Proposal | None:
    """Return the stanza for records in the view's own form; None unless at least half of the records have it."""
    if _has_no_form(view):
        return None
    stanza: dict[str, Any] = {"view": view, "source": {"topic": topic}}
    remarks: dict[str, str] = {}
    doubts: list[str] = []
    if "steps" in STREAMS[view].model_fields:
        matches = {number: _STEP_TIME.fullmatch(_line(record.value or b"") or "") for number, record in enumerate(records)}
        member = Member("", (), {number: found[1] for number, found in matches.items() if found})
        order = order_of(member, {number: float(found[2]) for number, found in matches.items() if found}, ())
        if {"R", "G", "B"} == set(order.texts):
            order = Order(("R", "G", "B"), order.counts, "")
        steps = list(arrange(order)) if len(order.texts) > 1 else []
        if len(steps) < 2 or len({step.lower() for step in steps}) < len(steps):
            return None
        stanza["steps"] = steps
        remarks["steps"], doubts = _about(order, steps)
    if "segments" in STREAMS[view].model_fields:
        own = [each for each in members_of([record.value or b"" for record in records]) if each.pointer == "/segment_id"]
        stanza["segments"] = _segments(own[0]) if own else 1
        remarks["segments"] = _SEGMENTS
    events = _events(stanza, records)
    return Proposal(stanza, remarks, events, doubts) if events >= _ENOUGH * len(records) else None


def _kind(value: bytes) -> str:
    """Return what a record is, in words that follow a number."""
    if len(value) > _FRAME and not value[0]:
        return _FRAMED
    try:
        read = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "lines of text" if _line(value) else "other bytes"
    return "JSON objects" if isinstance(read, dict) else _NO_OBJECTS


def _has_no_form(view: str) -> bool:
    """Whether a view has no form of its own, so that its stanza must have one."""
    return STREAMS[view].model_fields["record"].is_required()


def _of_json(
    topic: str, view: str, members: Sequence[Member], records: Sequence[Given], choose: Choose, arrange: Arrange
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the stanza with the members of JSON records that have the roles of the view, remarks, and doubts."""
    model = STREAMS[view]
    form: type[Record] = _form_of(view)
    stanza: dict[str, Any] = {"view": view, "source": {"topic": topic}}
    record: dict[str, Any] = {"format": "json"}
    remarks: dict[str, str] = {}
    left = list(members)
    chosen: dict[str, Guess] = {}
    doubts: list[str] = []
    for role in sorted(set(form.roles()) - {_KEY}, key=_ORDER.index):
        found = guesses(role, left, len(records))
        guess = choose(role, found)
        if guess is None and role != "time":
            if role in form.optional:
                continue
            known = ", ".join(member.pointer for member in members[:12]) or "none"
            raise ValueError(f"no member can be the {role} of {view} ({_NEEDS.get(role, 'an id')}). Members: {known}")
        if guess is None:
            record["time"], remarks["record.time"] = "kafka", "no member has a time: that of the record in Kafka"
            continue
        chosen[role] = guess
        left = [member for member in left if member.pointer != guess.member.pointer]
        others = [other.member.pointer for other in found if other is not guess][:3]
        remarks[f"record.{role}"] = f"such as {_shown(guess.member.example)}" + (f"; or {', '.join(others)}" if others else "")
        record[role] = {"field": guess.member.pointer, "unit": guess.unit} if role == "time" else guess.member.pointer
    if "step" in chosen:
        times = _times(chosen.get("time"), records)
        order = order_of(chosen["step"].member, times, left)
        texts = list(arrange(order))
        names = _names(texts)
        stanza["steps"] = list(names)
        remarks["steps"], doubts = _about(order, texts)
        record["step"] = {"field": chosen["step"].member.pointer}
        if _KEY in form.roles():
            if not order.joins:
                known = ", ".join(member.pointer for member in members[:12]) or "none"
                raise ValueError(f"no member can be the {_KEY} of {view} (one that joins the steps). Members: {known}")
            record[_KEY], remarks[f"record.{_KEY}"] = order.joins, "it joins the most steps"
            stanza["within"], remarks["within"] = _WITHIN, "from the first step to the last one: set it to your limit"
        if renamed := {name: [text] for name, text in names.items() if name != text}:
            record["step"]["names"] = renamed
    if model.ordered and (lateness := _lateness(chosen.get("time"), records)) is not None:
        stanza["lateness_ms"], remarks["lateness_ms"] = lateness, "the newest records are that much out of order"
    if "segment" in chosen:
        stanza["segments"], remarks["segments"] = _segments(chosen["segment"].member), _SEGMENTS
    stanza["record"] = {name: record[name] for name in ("format", *_ORDER) if name in record}
    read = {guess.member.pointer for guess in chosen.values()} | {str(record.get(_KEY))}
    if unread := [member.pointer for member in members if member.pointer not in read]:
        remarks["record.format"] = f"not read: {', '.join(unread[:12])}" + (" …" if len(unread) > 12 else "")
    return stanza, remarks, doubts


def _form_of(view: str) -> type[Record]:
    field = STREAMS[view].model_fields["record"]
    own: type[Record] = cast("type[Record]", field.annotation) if field.is_required() else type(field.get_default())
    return own


_ORDER = ("time", "step", "key", "type", "user", "value", "id", "data", "batch", "segment", "text")
"""The order in which members are chosen: the more special role first."""

_NEEDS = {
    "step": "a few texts that occur again and again",
    "type": "a few texts that occur again and again",
    "user": "text or a whole number",
    "id": "text or a whole number",
    "value": "a whole number",
    "text": "text",
    "batch": "a whole number",
    "segment": "a whole number",
    "data": "a list of whole numbers",
}


def _times(guess: Guess | None, records: Sequence[Given]) -> dict[int, float]:
    """Return the times of the records, by number, to compare them."""
    if guess is None or guess.unit is None:
        return {number: float(record.stamp) for number, record in enumerate(records)}
    found = {number: instant(value, guess.unit) for number, value in guess.member.values.items()}
    return {number: time for number, time in found.items() if time is not None}


def _lateness(guess: Guess | None, records: Sequence[Given]) -> int | None:
    """Return the `lateness_ms` that the disorder within the partitions needs; None if the usual one does."""
    times = _times(guess, records)
    unit = guess.unit or "ms" if guess is not None else "ms"
    partitions: dict[str, list[float]] = defaultdict(list)
    for number, time in times.items():
        partitions[records[number].place.partition("/")[0]].append(time)
    most = max((behind_ms(own, unit) for own in partitions.values()), default=0)
    if most <= _USUAL_LATENESS_MS:
        return None
    return next((each for each in _LATENESS_MS if each >= most), None)


def _segments(member: Member) -> int:
    """Return the number of segments that make a batch, by their numbers in the records."""
    whole = [value for value in member.values.values() if isinstance(value, int) and 0 <= value < _MOST_SEGMENTS]
    return 1 + max(whole, default=0)


def _names(texts: Sequence[str]) -> dict[str, str]:
    """Return a name for each text that a step may have: no underscore, no space, and different in more than case.

    >>> _names(["order_created", "Paid", "paid"])
    {'order-created': 'order_created', 'Paid': 'Paid', 'paid-2': 'paid'}
    """
    found: dict[str, str] = {}
    for text in texts:
        plain = _NOT_IN_NAMES.sub("-", text)[:28] or "-"
        name, number = plain, 1
        while name.lower() in {other.lower() for other in found}:
            number += 1
            name = f"{plain}-{number}"
        found[name] = text
    return found


def _about(order: Order, steps: Sequence[str]) -> tuple[str, list[str]]:
    """Describe the order of steps in a remark, and return what could not be guessed about them."""
    doubts = []
    if tuple(steps) != order.texts:
        known = "in the order that you gave"
    elif order.by is None:
        known = "in order of the first record of each, which says little: check it"
        doubts.append("the order of the steps is not known, because no member shows it: check `steps`")
    else:
        known = "in order of time" + (f", as {order.by} shows" if order.by else "")
    left = {text: count for text, count in order.counts.items() if text not in steps}
    if left:
        why = f", because {MOST_STEPS} is the most" if len(steps) == MOST_STEPS else ""
        doubts.append(f"left out of the steps{why}: {most_common(left)}")
    return f"{known}. Seen: {most_common(order.counts)}", doubts


def _events(stanza: Mapping[str, Any], records: Sequence[Given]) -> int:
    return sum(each.read == "event" for each in tried(stream_of(stanza), records))


def _line(value: bytes) -> str | None:
    try:
        line = value.decode().strip("\r\n\ufeff")
    except UnicodeDecodeError:
        return None
    return line if line.isprintable() else None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
