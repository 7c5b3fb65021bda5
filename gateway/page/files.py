"""The live page's files: HTML, styles and scripts of this package, and those of the chart library uPlot in `static/vendor`.

All files are read once, at the start, and served from memory. No request reaches the disk, and no path is built from one.
A file is compressed when the first client asks for that, because most services are never looked at in a browser.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.api.caching import not_modified
from gateway.api.errors import Problem
from gateway.api.formats import weights
from gateway.wire.compression import accepts_gzip

_FILES = Path(__file__).with_name("static")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE = "live.html"
_MISSING = "missing.html"
_LEAST_GZIP = 512


@dataclass(frozen=True)
class File:
    """A file as it is sent: its bytes, its media type and its tag, which is made of the bytes."""

    plain: bytes
    media_type: str
    tag: str

    @staticmethod
    def of(path: Path) -> "File":
        """Read the file."""
        plain = path.read_bytes()
        tag = f'"{hashlib.sha256(plain).hexdigest()[:24]}"'
        return File(plain, _TYPES[path.suffix], tag)

    @cached_property
    def packed(self) -> bytes:
        """The compressed bytes, made once. Cost: 0.02 to 12 ms."""
        return gzip.compress(self.plain, 9, mtime=0)

    def respond(self, request: Request, vary: str) -> Response:
        """Send the file, or 304 if the client has it.

        Browsers ask each time, so that an upgraded service shows its own page.
        """
        headers = {"ETag": self.tag, "Cache-Control": "no-cache", "Vary": vary}
        known = not_modified(request.headers, self.tag, headers)
        if known is not None:
            return known
        if len(self.plain) >= _LEAST_GZIP and accepts_gzip(request.headers.get("accept-encoding", "")):
            return Response(self.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.plain, headers=headers, media_type=self.media_type)


class Pages:
    """All files for the browser. They hold nothing secret, so they are open; the page asks for a token if the API needs one."""

    def __init__(self) -> None:
        found = (path for path in sorted(_FILES.rglob("*")) if path.suffix in _TYPES)
        self._files = {path.relative_to(_FILES).as_posix(): File.of(path) for path in found}

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the files."""
        return [Route("/static", self.moved), Route("/static/{name:path}", self.file)]

    async def page(self, request: Request) -> Response:
        """Send the page itself."""
        return self._files[_PAGE].respond(request, "Accept, Accept-Encoding")

    def missing(self, request: Request) -> Response:  # noqa: ARG002
        """Return the page for a path that does not exist."""
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        return Response(self._files[_MISSING].plain, 404, headers, "text/html; charset=utf-8")

    async def file(self, request: Request) -> Response:
        """Send one file, by its name."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise Problem(404, where="path", expected="a file of the page", got=request.scope["path"][:100])
        return found.respond(request, "Accept-Encoding")

    async def moved(self, request: Request) -> Response:  # noqa: ARG002
        """Redirect to the page."""
        return RedirectResponse("/", 307)


def wants_page(accept: str) -> bool:
    """Whether a client prefers HTML to JSON, as browsers do. A client that names neither gets JSON.

    >>> wants_page("text/html,application/xhtml+xml,*/*;q=0.8"), wants_page("*/*"), wants_page("")
    (True, False, False)
    >>> wants_page("application/json,text/html;q=0.5")
    False
    """
    wanted = weights(accept)
    return wanted.get("text/html", 0.0) > wanted.get("application/json", 0.0)
