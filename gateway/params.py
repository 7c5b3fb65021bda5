"""Query parameters to values, strictly: each known, each once, each of its type. What is wrong is a Problem 400."""

import difflib
import re
from collections.abc import Collection

from starlette.requests import Request

from actors.timeline.span import INT64_MAX, INT64_MIN, Span
from gateway.errors import Problem

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_SHOWN = 100


def bad(name: str, expected: str, got: str) -> Problem:
    """Return the problem of one query parameter; a long value is shown cut off."""
    return Problem(400, where=f"query {name}", expected=expected, got=got if len(got) <= _SHOWN else got[:_SHOWN] + "…")


def known(request: Request, names: Collection[str]) -> None:
    """Hold that no parameter is unknown or given twice."""
    for name in request.query_params:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"{near[0]}, perhaps" if near else "one of " + ", ".join(sorted(names)) if names else "no parameter"
            raise bad(name, hint, "an unknown parameter")
        if len(request.query_params.getlist(name)) > 1:
            raise bad(name, "one value", f"{len(request.query_params.getlist(name))} values")


def integer(request: Request, name: str, *, low: int = INT64_MIN, high: int = INT64_MAX) -> int | None:
    """Return an integer in [low, high], or None where the parameter is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise bad(name, "an integer", repr(text))
    if not low <= int(text) <= high:
        raise bad(name, f"an integer from {low} to {high}", text)
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


def flag(request: Request, name: str) -> bool:
    """Return whether the parameter is 1; absent is 0."""
    text = request.query_params.get(name, "0")
    if text not in {"0", "1"}:
        raise bad(name, "0 or 1", repr(text))
    return text == "1"
