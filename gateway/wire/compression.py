"""Compresses answers by gzip, block by block, for clients that accept it.

Starlette's responder compresses. This module adds weights in `Accept-Encoding`, a weak entity tag for compressed bytes, and a
smaller window, because many answers may be in progress. Event streams and short answers are not compressed.
"""

import zlib
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.formats import weights
from gateway.wire.layer import Layer

SHORTEST_BYTES = 1_024
"""The length of the shortest answer that is compressed."""

_RANGES = "/answers/"
"""Answers below this path have ranges of bytes, so their bytes are sent as they are."""

_LEVEL = 1
_WINDOW_BITS = 16 + 13
_MEMORY_LEVEL = 6
"""With a window of 8 KiB, the compressor of an answer takes 64 KiB. With zlib's default it would take 256 KiB."""


class Compression(Layer):
    """Compresses the answers of `app`. Cost: about 10 ms of CPU per MB."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                tag = headers.get("etag", "")
                if tag and "accept-encoding" not in headers.get("vary", "").lower():
                    headers.add_vary_header("Accept-Encoding")  # also a 304 and a short answer need it
                if tag.startswith('"') and "content-encoding" in headers:
                    headers["etag"] = f"W/{tag}"
            await send(message)

        accepted = accepts_gzip(Headers(scope=scope).get("accept-encoding", "")) and not scope["path"].startswith(_RANGES)
        responder = _Gzip if accepted else IdentityResponder
        await responder(self.app, SHORTEST_BYTES)(scope, receive, sending)


class _Gzip(GZipResponder):
    """Starlette's responder with our compressor."""

    def __init__(self, app: ASGIApp, minimum_size: int) -> None:
        super().__init__(app, minimum_size, compresslevel=_LEVEL)
        self._own: Any = None

    @property
    def compressor(self) -> Any:
        """The compressor of this answer, made at the first use."""
        if self._own is None:
            self._own = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        return self._own


def accepts_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` header accepts gzip: by its name, otherwise by `*`. A weight of 0 forbids it.

    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0, *"), accepts_gzip("*;q=0.1"), accepts_gzip("identity")
    (True, False, True, False)
    """
    taken = weights(header)
    return taken.get("gzip", taken.get("x-gzip", taken.get("*", 0.0))) > 0
