"""Parameters of requests. Each is an object that parses strictly, and describes in a JSON Schema exactly what it parses.

A parameter must not be repeated, and must have its type; else the request gets 400, or the parameter's own status. `unknown`
has the rule about others. An `Operation` parses its parameters before its endpoint is called; the endpoint gets the values by
`of`.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Generic, TypeVar

from starlette.requests import Request

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.calendar import ISO
from actors.timeline.span import EVER, Span
from actors.timeline.unit import LENGTHS_NS, NAMES, UNITS, duration_ns
from gateway.api.errors import Problem, bad
from gateway.api.instants import (
    LAST_PLAIN_S,
    MS,
    RELATIVE,
    implausible,
    meant,
    moment,
    number,
    unbounded,
)

GIVEN = "firnline.given"
"""The key of an ASGI scope under which the parsed values are, by name."""

NOW = "firnline.now"
"""The key under which the time of the request is, ns since 1970, if a parameter needs it."""

_UNIT = "firnline.unit"
"""The key under which the unit of the stream is, if a parameter depends on it and it may change."""

Value_co = TypeVar("Value_co", covariant=True)

_LENGTH = f"(?:[1-9][0-9]{{0,17}}(?:{'|'.join(LENGTHS_NS)})){{1,9}}"
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameter(Generic[Value_co]):
    """A parameter of a query. A subclass parses a text in `read`, and describes the same by a JSON Schema in `schema`."""

    place: ClassVar[str] = "query"

    name: str
    description: str
    required: bool = False
    example: Any = None

    def parse(self, request: Request) -> Value_co:
        """Return the value in the request. Raises Problem."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of exactly the texts that `parse` accepts."""
        raise NotImplementedError

    def of(self, request: Request) -> Value_co:
        """Return the value that the operation has parsed. Fails if the operation does not list this parameter."""
        value: Value_co = request.scope[GIVEN][self.name]
        return value

    def described(self) -> dict[str, Any]:
        """Return the Parameter Object of OpenAPI."""
        described: dict[str, Any] = {"name": self.name, "in": self.place, "description": self.description}
        if self.required or self.place == "path":
            described["required"] = True
        described["schema"] = self.schema()
        if self.example is not None:
            described["example"] = self.example
        return described


@dataclass(frozen=True, kw_only=True, eq=False)
class Integer(Parameter[int | None]):
    """An integer in [low, high], or None if it is absent. A value that is not one gets `status`."""

    low: int = INT64_MIN
    high: int = INT64_MAX
    status: int = 400

    def parse(self, request: Request) -> int | None:
        """Return the integer."""
        text = request.query_params.get(self.name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text):
            raise bad(self.name, "an integer", repr(text), self.status)
        if not self.low <= int(text) <= self.high:
            raise bad(self.name, f"an integer from {self.low} to {self.high}", text, self.status)
        return int(text)

    def schema(self) -> dict[str, Any]:
        """Return the schema of the range."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, kw_only=True, eq=False)
class Length(Integer):
    """A positive integer in the stream's unit, or a duration such as 5m, which is rounded up to the unit. None if it is absent.

    `unit_of` returns the present unit. A duration beyond `high` counts as `high`.
    """

    unit_of: Callable[[], str]
    low: int = 1

    def parse(self, request: Request) -> int | None:
        """Return the length in the unit."""
        text = request.query_params.get(self.name)
        if text is not None and re.fullmatch(_LENGTH, text):
            unit = request.scope.setdefault(_UNIT, self.unit_of())
            return min(self.high, -(-duration_ns(text) * UNITS[unit] // UNITS["ns"]))
        if text is not None and not _INTEGER.fullmatch(text):
            raise bad(self.name, "an integer in the stream's unit, or a length such as 500ms, 5m or 1h30m", repr(text))
        return super().parse(request)

    def schema(self) -> dict[str, Any]:
        """Return the schema of both."""
        return {"anyOf": [super().schema(), {"type": "string", "pattern": f"^{_LENGTH}$"}]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Flag(Parameter[bool]):
    """True for 1, False if absent."""

    def parse(self, request: Request) -> bool:
        """Return whether the text is 1."""
        text = request.query_params.get(self.name, "0")
        if text not in {"0", "1"}:
            raise bad(self.name, "0 or 1", repr(text))
        return text == "1"

    def schema(self) -> dict[str, Any]:
        """Return the schema of 0 and 1."""
        return {"type": "integer", "enum": [0, 1], "default": 0}


@dataclass(frozen=True, kw_only=True, eq=False)
class OneOf(Parameter[str]):
    """One of some words; the `default` if absent."""

    words: tuple[str, ...]
    default: str

    def parse(self, request: Request) -> str:
        """Return the word."""
        text = request.query_params.get(self.name, self.default)
        if text not in self.words:
            raise bad(self.name, "one of " + ", ".join(self.words), repr(text))
        return text

    def schema(self) -> dict[str, Any]:
        """Return the schema of the words."""
        return {"type": "string", "enum": list(self.words), "default": self.default}


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice(Parameter[str | None]):
    """One of some words, or None if it is absent and not `required`."""

    words: tuple[str, ...]

    def parse(self, request: Request) -> str | None:
        """Return the word."""
        text = request.query_params.get(self.name)
        if text not in self.words and (text is not None or self.required):
            raise bad(self.name, "one of " + ", ".join(self.words), "nothing" if text is None else repr(text))
        return text

    def schema(self) -> dict[str, Any]:
        """Return the schema of the words."""
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Text(Parameter[Any]):
    """The value of `read` for a text that matches `pattern`; None if absent. `read` raises ValueError for a wrong text."""

    pattern: str
    read: Callable[[str], Any]
    expected: str

    def parse(self, request: Request) -> Any:
        """Return the value of `read`."""
        text = request.query_params.get(self.name)
        if text is None:
            return None
        try:
            if re.fullmatch(self.pattern, text):
                return self.read(text)
        except ValueError:
            pass
        raise bad(self.name, self.expected, repr(text))

    def schema(self) -> dict[str, Any]:
        """Return the schema of the pattern."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, kw_only=True, eq=False)
class InPath(Parameter[str]):
    """A part of the path, as it came. The endpoint raises 404 for a value that does not exist.

    With `rest`, it is the whole rest of the path, which may have slashes.
    """

    place: ClassVar[str] = "path"

    form: Mapping[str, Any]
    rest: bool = False

    def parse(self, request: Request) -> str:
        """Return the part of the path."""
        return str(request.path_params[self.name])

    def schema(self) -> dict[str, Any]:
        """Return the schema of the part."""
        return dict(self.form)


@dataclass(frozen=True, kw_only=True, eq=False)
class Header(Parameter[str]):
    """A header, as it came; empty if absent."""

    place: ClassVar[str] = "header"

    def parse(self, request: Request) -> str:
        """Return the header."""
        return request.headers.get(self.name, "")

    def schema(self) -> dict[str, Any]:
        """Return the schema of any text."""
        return {"type": "string"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Time(Parameter[int | None]):
    """A time in the stream's `unit` (s, ms, us, ns), in the grammar of `instants`. None if it is absent and not `required`.

    If `unit_of` is given, it returns the present unit instead. All parameters of one request have the same unit.

    A number is in `counted`, by default the same unit. A time finer than the unit is rounded down, and up as the `end` of a
    range, so that the range contains all of it. A time beyond int64 counts as the first or the last int64; as an `end`, as the
    time after the last one.
    """

    unit: str = MS
    unit_of: Callable[[], str] | None = None
    counted: str = ""
    end: bool = False

    def parse(self, request: Request) -> int | None:
        """Return the time in the unit."""
        exact = self.exact(request)
        return None if exact is None else self._rounded(exact)

    def _at(self, request: Request) -> "Time":
        """Return the same parameter with the unit of this request."""
        assert self.unit_of is not None, "only a unit that may change is looked up"
        return replace(self, unit=request.scope.setdefault(_UNIT, self.unit_of()), unit_of=None)

    def exact(self, request: Request) -> int | Fraction | None:
        """Return the time in the unit, not rounded and without bounds."""
        if self.unit_of is not None:
            return self._at(request).exact(request)
        text = request.query_params.get(self.name)
        if text is None:
            if self.required:
                raise bad(self.name, self._expected, "nothing")
            return None
        found = number(text, fraction=self._counted == "s")
        if found is not None:
            self._check(found)
            return found if self._counted == self.unit else Fraction(found * UNITS[self.unit], UNITS[self._counted])
        try:
            return moment(text, lambda: _now_ns(request)) * UNITS[self.unit]
        except ValueError:
            raise bad(self.name, self._expected, repr(text)) from None

    def schema(self) -> dict[str, Any]:
        """Return the schema of all forms, in the present unit."""
        if self.unit_of is not None:
            return replace(self, unit=self.unit_of(), unit_of=None).schema()
        unit = self._counted
        low = INT64_MIN
        numbers: list[dict[str, Any]] = []
        for gap in implausible(unit):
            numbers.append({"type": "integer", "minimum": low, "maximum": gap.start - 1})
            low = gap.stop
        numbers.append({"type": "integer", "minimum": low, "maximum": self._last})
        if self.end:
            round_ones = (value for k in range(20) for value in (10**k - 1, 10**k))
            exempt = [value for value in round_ones if any(value in gap for gap in implausible(unit))]
            numbers += [{"type": "integer", "enum": exempt, "description": "No end."}] if exempt else []
        fraction = {"type": "string", "pattern": rf"^[+-]?[0-9]{{1,{len(str(LAST_PLAIN_S))}}}\.[0-9]{{1,9}}$"}
        return {
            "anyOf": [
                *({**each, "description": each.get("description", f"{NAMES[unit]} since 1970")} for each in numbers),
                *([{**fraction, "description": "seconds since 1970"}] if unit == "s" else []),
                {"type": "string", "format": "date-time", "description": "RFC 3339"},
                {"type": "string", "pattern": f"^(?:{ISO})$", "description": "A date or a time, in UTC if it has no zone"},
                {"type": "string", "pattern": f"^(?:{RELATIVE})$", "description": "The present, or a time before or after it"},
            ]
        }

    @property
    def _counted(self) -> str:
        return self.counted or self.unit

    @property
    def _last(self) -> int:
        return INT64_MAX + 1 if self.end else INT64_MAX

    @property
    def _expected(self) -> str:
        return f"a number ({NAMES[self._counted]} since 1970), or a time such as 2023-06-02T08:51:56Z, 2023-06-02 or -5m"

    def _check(self, found: int | Fraction) -> None:
        """Raise Problem 400 for a number beyond int64, or for one that is a plausible time only in another unit."""
        if not INT64_MIN <= found <= self._last:
            raise bad(self.name, f"a number from {INT64_MIN} to {self._last}", str(found))
        whole = found // 1
        other = meant(whole, self._counted)
        if other is not None and not (self.end and found == whole and unbounded(whole)):
            expected = f"{NAMES[self._counted]} since 1970, perhaps {other.value}"
            raise bad(self.name, expected, f"{whole}, which looks like {NAMES[other.unit]}")

    def _rounded(self, exact: int | Fraction) -> int:
        whole = -(-exact // 1) if self.end else exact // 1
        return max(INT64_MIN, min(whole, self._last))


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment(Time):
    """A time of a stream in ms whose numbers are Unix seconds."""

    counted: str = "s"


def _now_ns(request: Request) -> int:
    """Return the time of the request, ns since 1970: the same for all of its parameters."""
    now_ns: int = request.scope.setdefault(NOW, time.time_ns())
    return now_ns


def range_of(unit_of: Callable[[], str], noun: str, *, required: bool = False) -> tuple[Time, Time]:
    """Return the parameters `startTime` and `endTime` of the range that chooses answers, which are called `noun`.

    `unit_of` returns the present unit of the stream. If they are not `required`, an absent one means no bound.
    """
    default = "" if required else " Default: all."
    start = Time(
        name="startTime",
        description=f"{noun} at or after this time: a number in the stream's unit, a date, or -5m.{default}",
        required=required,
        unit_of=unit_of,
        example="2023-06-02T08:51:56Z",
    )
    end = Time(
        name="endTime",
        description=f"{noun} before this time, in the same notation. It must not be before `startTime`.{default}",
        required=required,
        unit_of=unit_of,
        end=True,
        example="2023-06-02T08:52:56Z",
    )
    return start, end


def between(request: Request, start: Time, end: Time) -> Span:
    """Return the range [start, end) of two parameters. It is open on the side whose parameter is absent."""
    low, high = start.of(request), end.of(request)
    low, high = EVER.start if low is None else low, EVER.end if high is None else high
    if low <= high <= low + 1:  # rounding may have made it of an empty range, or of one that ends before it starts
        exact, last = start.exact(request), end.exact(request)
        if exact is not None and last is not None and exact >= last:
            high = low if exact == last else low - 1
    if low > high:
        given = request.query_params
        raise bad(end.name, f"{start.name} ({given[start.name]}) or later", given[end.name])
    return Span(low, high)


def body_bytes(request: Request, most: int) -> int:
    """Return the allowed length of a request's body: its Content-Length, else `most`.

    Raises Problem 413 if that is beyond `most`.
    """
    length = request.headers.get("content-length", "")[:20]
    if not (length.isascii() and length.isdigit()):
        return most
    if int(length) > most:
        raise Problem(413, where="body", expected=f"at most {most} bytes", got=f"{length} bytes")
    return int(length)


async def body(request: Request, most: int) -> bytes:
    """Return the body of a request. Raises Problem 413 as soon as more than `most` bytes came."""
    came = bytearray()
    async for block in request.stream():
        came += block
        if len(came) > most:
            raise Problem(413, where="body", expected=f"at most {most} bytes", got="more")
    return bytes(came)
