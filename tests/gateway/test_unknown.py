"""Unknown parameters of a query: reported in a header on the paths of older systems, and refused on all other paths."""

import asyncio
import re
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import Response

from actors.views.kinds import VIEWS
from gateway.api.errors import Problem
from gateway.api.operation import Operation
from gateway.api.params import Integer
from gateway.api.unknown import WARNING
from gateway.app import create_app
from gateway.stream import Served
from tests.gateway.test_openapi import Unasked, get
from tests.support.allowed import allowance

LIMIT = Integer(name="limit", description="An integer.")
HOSTILE = [
    "a\r\nSet-Cookie: b=c",
    "a\nFirnline-Warning: b",
    "\0",
    "\x7f\x1b[31m",
    "ä€\u3042",
    "\ufffd",
    '"; known: nothing',
    " ",
    "",
    "x" * 10_000,
    "\U0001f600" * 3_000,
    "%0d%0a",
]


async def endpoint(request: Request) -> Response:
    """Answer."""
    return Response(str(LIMIT.of(request)))


def asked(query: str, *, lenient: bool = True, parameters: Any = (LIMIT,)) -> Response:
    operation = Operation(method="GET", path="/", endpoint=endpoint, tag="test", parameters=parameters, lenient=lenient)
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": []}
    return asyncio.run(operation.respond(Request(scope)))


def test_a_lenient_operation_answers_and_reports_the_parameter():
    response = asked("limit=5&limt=7&x=")
    assert (response.body, response.headers[WARNING]) == (b"5", "unknown parameters limt, x; known: limit")
    assert asked("limt=7").headers[WARNING] == "unknown parameter limt; known: limit"
    assert WARNING not in asked("limit=5").headers


def test_another_operation_refuses_the_parameter():
    with pytest.raises(Problem, match="limit, perhaps") as raised:
        asked("limt=7", lenient=False)
    assert (raised.value.status, raised.value.headers) == (400, None)


def test_a_known_parameter_is_read_strictly_and_the_error_has_the_header_too():
    for query in ("limit=ten&limt=5", "limit=1&limit=2&limt=5"):
        with pytest.raises(Problem) as raised:
            asked(query)
        assert (raised.value.status, raised.value.where) == (400, "query limit")
        assert raised.value.headers == {WARNING: "unknown parameter limt; known: limit"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_gives_one_short_line_of_printable_ascii(name: str):
    line = asked(f"{quote(name)}=1").headers[WARNING]
    assert re.fullmatch(r"unknown parameter [A-Za-z0-9._~%()-]{1,67}; known: limit", line)


def test_only_the_first_of_many_names_are_in_the_header():
    line = asked("&".join(f"{number:0100}" for number in range(2_000))).headers[WARNING]
    assert "and 1992 more; known: limit" in line
    assert len(line) < 800


def test_the_paths_of_older_systems_are_lenient_and_the_others_are_not():
    app = create_app([Served(view, view, Unasked(), steps=("R", "G")) for view in VIEWS], Unasked(), allowance())
    described = asyncio.run(get(app, "/openapi.json"))
    lenient = {
        path
        for path, methods in described["paths"].items()
        for operation in methods.values()
        if WARNING in operation["responses"]["200"]["headers"]
    }
    stats = {f"/{view}/get-stats" for view in VIEWS}
    counts = {f"/{name}/{what}" for name in ("events", "words") for what in ("CountByEventType", "CountWords")}
    assert lenient == {"/", "/docs", "/sets/get-sets", "/top", *stats, *counts}
