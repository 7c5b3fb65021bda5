"""Request ids: one for each request, the client's own where it is fit, in the header of every answer and in every problem."""

import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
_KEY = "firnline.request_id"
_FIT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(scope: MutableMapping[str, Any]) -> str:
    """Return the id of the request: what the client's header says, where it is fit, else a random one; alike each time."""
    found = scope.get(_KEY)
    if found is None:
        given = Headers(scope=scope).get(HEADER, "")
        found = scope[_KEY] = given if _FIT.fullmatch(given) else secrets.token_hex(8)
    return str(found)


class RequestIds:
    """ASGI middleware that writes the header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the header to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = request_id(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(HEADER, own)
            await send(message)

        await self._app(scope, receive, sending)
