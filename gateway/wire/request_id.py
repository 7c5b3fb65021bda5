"""Request ids: one for each request, in the header of its answer and in the body of a problem.

The client's own `X-Request-Id` is used if it is well-formed, otherwise a random id.
"""

import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from gateway.wire.layer import Layer

HEADER = "X-Request-Id"
_KEY = "firnline.request_id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(scope: MutableMapping[str, Any]) -> str:
    """Return the id of the request with this ASGI scope. Every call for the same request returns the same id."""
    found = scope.get(_KEY)
    if found is None:
        given = Headers(scope=scope).get(HEADER, "")
        found = scope[_KEY] = given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)
    return str(found)


class RequestIds(Layer):
    """Adds the header with the request's id to every answer."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the header to the answer."""
        own = request_id(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(HEADER, own)
            await send(message)

        await self.app(scope, receive, sending)
