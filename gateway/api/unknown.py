"""Parameters of a query that a path does not have: refused with a hint, or reported in a header.

The paths of older systems ignored such parameters, and their clients may send some. These paths answer, and report the
parameters in `Firnline-Warning`; all other paths refuse the request.
"""

import difflib
from collections.abc import Collection
from urllib.parse import quote

from starlette.requests import Request

from gateway.api.errors import bad

WARNING = "Firnline-Warning"
WARNINGS = {WARNING: "The query's unknown parameters, which had no effect, and those that the path knows. Absent without any."}
"""The header, with its description."""

_MOST_NAMES = 8
_LONGEST_NAME = 64


def refuse_unknown(request: Request, names: Collection[str]) -> None:
    """Raise Problem 400 if a parameter is unknown or repeated."""
    for name in request.query_params:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"{near[0]}, perhaps" if near else "one of " + ", ".join(sorted(names)) if names else "no parameter"
            raise bad(name, hint, "an unknown parameter")
    refuse_repeated(request, names)


def refuse_repeated(request: Request, names: Collection[str]) -> None:
    """Raise Problem 400 if one of the parameters `names` is given more than once."""
    for name in names:
        if len(values := request.query_params.getlist(name)) > 1:
            raise bad(name, "one value", f"{len(values)} values")


def warning_of(request: Request, names: Collection[str]) -> dict[str, str]:
    """Return the header that reports the unknown parameters of a request; empty if all are among `names`.

    >>> warning_of(Request({"type": "http", "query_string": b"limt=1&%0D%0A=2"}), ["limit", "cursor"])
    {'Firnline-Warning': 'unknown parameters limt, %0D%0A; known: cursor, limit'}
    """
    unknown = [name for name in request.query_params if name not in names]
    if not unknown:
        return {}
    shown = ", ".join(map(_plain, unknown[:_MOST_NAMES]))
    more = f" and {len(unknown) - _MOST_NAMES} more" if len(unknown) > _MOST_NAMES else ""
    known = f"known: {', '.join(sorted(names))}" if names else "the path has no parameters"
    return {WARNING: f"unknown parameter{'s' if len(unknown) > 1 else ''} {shown}{more}; {known}"}


def _plain(name: str) -> str:
    """Return a name of the client in characters that a header may have: percent-encoded, and cut off if it is long."""
    written = quote(name[:_LONGEST_NAME], safe="", errors="replace")
    if max(len(name), len(written)) > _LONGEST_NAME:
        return f"{written[:_LONGEST_NAME]}..."
    return written or "(empty)"
