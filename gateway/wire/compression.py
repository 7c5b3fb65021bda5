"""Answers compressed by gzip, block by block as they are made, for clients that accept it.

Starlette's own responder does the work; around it stands what it leaves out: weights in `Accept-Encoding`, a tag that does not
claim the same bytes, and a window small enough for many answers at once. Event streams and short answers are left as they are.
"""

import zlib
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.formats import weights

SHORTEST_BYTES = 1_024
"""Bytes of the shortest answer that is compressed."""

_LEVEL = 1
_WINDOW_BITS = 16 + 13
_MEMORY_LEVEL = 6
"""A window of 8 KiB: an answer takes 64 KiB for its compressor, where zlib's own choice is 256 KiB."""


class Compression:
    """Compresses what `app` answers, at some 10 ms a MB."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                tag = headers.get("etag", "")
                if tag and "accept-encoding" not in headers.get("vary", "").lower():
                    headers.add_vary_header("Accept-Encoding")  # of a 304, and of what is short
                if tag.startswith('"') and "content-encoding" in headers:
                    headers["etag"] = f"W/{tag}"
            await send(message)

        accepted = accepts_gzip(Headers(scope=scope).get("accept-encoding", ""))
        responder = _Gzip if accepted else IdentityResponder
        await responder(self._app, SHORTEST_BYTES)(scope, receive, sending)


class _Gzip(GZipResponder):
    """Starlette's, with a compressor of our own."""

    def __init__(self, app: ASGIApp, minimum_size: int) -> None:
        super().__init__(app, minimum_size, compresslevel=_LEVEL)
        self._own: Any = None

    @property
    def compressor(self) -> Any:
        """The compressor of this answer, made when there is something to compress."""
        if self._own is None:
            self._own = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        return self._own


def accepts_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` header takes gzip: by name, else by `*`; with a weight of 0 it does not.

    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0, *"), accepts_gzip("*;q=0.1"), accepts_gzip("identity")
    (True, False, True, False)
    """
    taken = weights(header)
    return taken.get("gzip", taken.get("x-gzip", taken.get("*", 0.0))) > 0
