"""Query parameters to values, strictly: each known, each once, each of its type. What is wrong is a Problem 400."""

import difflib
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from starlette.requests import Request

from actors.timeline.span import EVER, INT64_MAX, INT64_MIN, Span
from gateway.errors import Problem

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_SECONDS = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,9})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 100


def bad(name: str, expected: str, got: str, status: int = 400) -> Problem:
    """Return the problem of one query parameter; a long value is shown cut off."""
    return Problem(status, where=f"query {name}", expected=expected, got=got if len(got) <= _SHOWN else got[:_SHOWN] + "…")


def known(request: Request, names: Collection[str]) -> None:
    """Hold that no parameter is unknown or given twice."""
    for name in request.query_params:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"{near[0]}, perhaps" if near else "one of " + ", ".join(sorted(names)) if names else "no parameter"
            raise bad(name, hint, "an unknown parameter")
        if len(request.query_params.getlist(name)) > 1:
            raise bad(name, "one value", f"{len(request.query_params.getlist(name))} values")


def integer(request: Request, name: str, *, low: int = INT64_MIN, high: int = INT64_MAX, status: int = 400) -> int | None:
    """Return an integer in [low, high], or None where the parameter is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise bad(name, "an integer", repr(text), status)
    if not low <= int(text) <= high:
        raise bad(name, f"an integer from {low} to {high}", text, status)
    return int(text)


def span(request: Request) -> Span:
    """Return the range [startTime, endTime), both of them required."""
    times = {name: integer(request, name) for name in ("startTime", "endTime")}
    for name, time in times.items():
        if time is None:
            raise bad(name, "an integer", "nothing")
    start, end = times["startTime"], times["endTime"]
    assert start is not None, "looked at above"
    assert end is not None, "looked at above"
    if start > end:
        raise bad("endTime", f"startTime ({start}) or later", str(end))
    return Span(start, end)


def moment(request: Request, name: str) -> int | None:
    """Return a time, given as Unix seconds or by RFC 3339, in ms since 1970; None where the parameter is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    expected = "Unix seconds, or a time such as 2016-07-11T13:00:00Z"
    try:
        if _SECONDS.fullmatch(text):
            return int(Decimal(text) * 1000 // 1)
        given = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in a query that nobody encoded
        return int((given - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError, TypeError):  # the last one for a time without a zone
        raise bad(name, expected, repr(text)) from None


def moments(request: Request, start: str, end: str) -> Span:
    """Return the range [start, end) in ms; where one is absent, it is open there."""
    low, high = moment(request, start), moment(request, end)
    low, high = EVER.start if low is None else low, EVER.end if high is None else high
    if low > high:
        raise bad(end, f"{start} or later", request.query_params[end])
    return Span(low, high)


async def body(request: Request, most: int) -> bytes:
    """Return the body of a request. Raises Problem 413 beyond `most` bytes, as soon as that is known."""
    expected, said = f"at most {most} bytes", request.headers.get("content-length", "")
    if said.isascii() and said[:20].isdigit() and int(said[:20]) > most:
        raise Problem(413, where="body", expected=expected, got=f"{said} bytes")
    came = bytearray()
    async for block in request.stream():
        came += block
        if len(came) > most:
            raise Problem(413, where="body", expected=expected, got="more")
    return bytes(came)


def flag(request: Request, name: str) -> bool:
    """Return whether the parameter is 1; absent is 0."""
    text = request.query_params.get(name, "0")
    if text not in {"0", "1"}:
        raise bad(name, "0 or 1", repr(text))
    return text == "1"
