"""The first records of a stream as the configuration reads them: `firnline config try`. Changes nothing in Kafka."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from rich.table import Table

from actors.columns.values import Values
from actors.records.encoding import Encoding, FieldsReader, UnreadableError
from actors.records.members import Members
from actors.sources.polled import of_one_partition
from config.streams import Stream
from config.units import NANOSECONDS
from scripts.brokers.embedded import find_embedded
from scripts.cli.printing import console_of, counted, most_common, short
from scripts.cli.topic_records import Given, of_topic
from scripts.service.plan import view_of
from scripts.service.schemas.found import await_schemas, encoding_of, framed_values, schemas_of

RECORDS = 20
_GZIP = b"\x1f\x8b"
_LONGEST = 1 << 20
_NOTHING = "-"
_STEP = "step"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tried:
    """A record as the stream reads it. `values` has the JSON of each role's member; None: it is missing.

    `time` is in the stream's unit, and `moment` the same as a date. `reason` is that of a refusal. `step` is the name of the
    record's step; None: the member has no text of a step, or steps are read from no member.
    """

    place: str
    read: Literal["event", "other", "refused"]
    time: int | None
    moment: str | None
    values: Mapping[str, str | None]
    reason: str | None
    record: str
    step: str | None


def _nothing(_: str) -> None:
    pass


def tried(stream: Stream, records: Sequence[Given], on_error: Callable[[str], None] = _nothing) -> list[Tried]:
    """Read records one by one, as the stream does. `on_error` gets a text for each schema of a registry that cannot be used.

    Raises ValueError if the schema file cannot be used, or a registry does not answer.
    """
    schemas = schemas_of(stream.form, "try", on_error)
    values = framed_values(stream.form, Values.of([record.value for record in records]), lambda place: records[place].headers)
    await_schemas(schemas, values)
    encoding = encoding_of(schemas)
    view = view_of(stream, encoding)
    members, names = _members(stream, encoding), {} if stream.form is None else stream.form.names()
    step_of = {text: name for name in stream.step_names for text in names.get(name, [name])}
    found = []
    for number, (record, value) in enumerate(zip(records, values.listed, strict=True)):
        stamp, key = record.stamp, record.key
        decoded = view.decode(
            of_one_partition(Values.of([value]), number, lambda: np.array([stamp]), key_of=lambda _: key)  # noqa: B023  # decoded at once
        )
        refused = bool(decoded.refusals)
        is_event = decoded.accepted is None or bool(decoded.accepted.all())
        at = int(decoded.times[0]) if is_event and decoded.times.size else None
        texts = _values(members, value or b"")
        step = step_of.get((texts.get(_STEP) or "").strip('"'))
        if step in names:
            texts[_STEP] = f"{texts[_STEP]} = {step}"
        found.append(
            Tried(
                record.place,
                "refused" if refused else "event" if is_event else "other",
                at,
                _moment(at, stream.axis),
                texts,
                decoded.refusals[0].reason if refused else None,
                (record.value or b"").decode(errors="replace"),
                step,
            )
        )
    return found


def first(stream: Stream, kafka: Mapping[str, Any], lines: Path | None, count: int) -> list[Given]:
    """Return the first records of the file `lines`, or else of the stream's topic or file.

    If records are binary, the file is one record.
    Raises ValueError if they cannot be read.
    """
    source = stream.source
    path = lines or source.file
    if path is not None:
        try:
            return [Given("the file", path.read_bytes())] if stream.binary else list(of_lines(path, count))
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ValueError(f"{path}: expected a file of lines, got: {reason}") from None
    if source.topic is None:
        raise ValueError(f"--from: expected a file of lines, because the source of the stream is a {source}")
    return of_topic(with_broker(kafka), source.topic, count)


def with_broker(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the address of the embedded broker if they name that one. Raises ValueError if none runs."""
    if kafka["bootstrap.servers"] != "embedded":
        return dict(kafka)
    found = find_embedded()
    if found is None:
        raise ValueError("kafka.bootstrap.servers: expected a broker, got embedded, and none runs; give --bootstrap")
    return {**kafka, "bootstrap.servers": found}


def of_lines(path: Path, count: int) -> Iterator[Given]:
    """Yield the first lines of a file, plain or gzip. Raises OSError, EOFError or zlib.error if it cannot be read."""
    with path.open("rb") as plain:
        packed = plain.read(2) == _GZIP
    with gzip.open(path) if packed else path.open("rb") as file:
        lines: Iterator[bytes] = iter(lambda: file.readline(_LONGEST), b"")
        for number, line in enumerate(islice(lines, count), 1):
            yield Given(f"line {number}", line.removesuffix(b"\n"))


_Members = tuple[Sequence[str], FieldsReader]


def _members(stream: Stream, encoding: Encoding | None) -> _Members | None:
    """Return the roles and the reader of their members; None if the stream reads no members."""
    if stream.form is None:
        return None
    at = stream.form.fields()
    pointers = list(at.values())
    return tuple(at), Members(pointers) if encoding is None else encoding.members(pointers)


def _values(members: _Members | None, record: bytes) -> dict[str, str | None]:
    """Return the JSON of each role's member; None: it is missing, or the record cannot be read."""
    if members is None:
        return {}
    roles, reader = members
    try:
        found = reader.read(record)
    except (UnreadableError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return dict.fromkeys(roles)
    return {role: raw.decode(errors="replace") if raw else None for role, raw in zip(roles, found, strict=True)}


def _moment(at: int | None, unit: str) -> str | None:
    """Write a time as a date with all its digits; None if it is no time that a calendar has."""
    if at is None or unit not in NANOSECONDS:
        return None
    per_s = 10**9 // NANOSECONDS[unit]
    digits = len(str(per_s)) - 1
    try:
        day = _EPOCH + timedelta(seconds=at // per_s)
    except OverflowError:
        return None
    return f"{day:%Y-%m-%dT%H:%M:%S}{f'.{at % per_s:0{digits}}' if digits else ''}Z"


def printed(stream: Stream, found: Sequence[Tried]) -> None:
    """Print records as a table: the place, the time, the member of each role, and how the record is read."""
    roles = list(dict.fromkeys(role for each in found for role in each.values))
    words = "" if stream.form is None else stream.form.words
    table = Table(
        "record", "time" if stream.axis in NANOSECONDS else stream.axis, *(f"{role} in {words}" for role in roles), "read as"
    )
    for each in found:
        cells = [_NOTHING if (value := each.values.get(role)) is None else short(value) for role in roles]
        at = each.moment or (_NOTHING if each.time is None else str(each.time))
        color = {"event": "", "other": "dim", "refused": "red"}[each.read]
        head = short(each.record) if not roles else None
        told = each.reason or each.read
        table.add_row(each.place, at, *cells, told if head is None else f"{told}: {head}", style=color)
    console = console_of(160)
    console.print(table)
    counts = {name: sum(each.read == name for each in found) for name in ("event", "other", "refused")}
    read = f"{counted(counts['event'], 'event')}, {counts['other']} other, {counts['refused']} refused"
    console.print(f"{counted(len(found), 'record')}: {read}")
    for line in _of_steps(stream.step_names, found):
        console.print(line)


def _of_steps(steps: Sequence[str], found: Sequence[Tried]) -> list[str]:
    """Return lines about the step of records: the texts that are no step, and the steps of which there is no record.

    Without such texts there is no line: then the records are a part of a process.
    """
    others = Counter(text for each in found if each.read == "other" and (text := each.values.get(_STEP)) is not None)
    if not others:
        return []
    seen = {each.step for each in found}
    return [
        f"texts that are no step, so the record is no event: {most_common(others)}",
        *(f"step {step}: none of these records" for step in steps if step not in seen),
    ]
