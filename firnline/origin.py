"""Of which stream an answer must be, and which stream a request means that names none. Pure."""

import difflib
import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from firnline.problems import Header, RefusedError

_STREAM, _VIEW = "Firnline-Stream", "Firnline-View"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The stream of an answer, and its view; None: any view.

    If the caller has not `given` the stream, `stream` is the usual name. If the service has no such stream of the view, the
    only one of the view takes its place.
    """

    stream: str
    view: str | None = None
    given: bool = True

    @classmethod
    def of(cls, stream: str | None, usual: str, view: str | None = None) -> "Origin":
        """Return the origin for the stream that a caller has named, or for the `usual` one."""
        return cls(usual, view, given=False) if stream is None else cls(stream, view)

    def other(self, header: Header) -> RefusedError | None:
        """Return the error of an answer with these headers from another stream or view. Older services do not name them."""
        wanted = {_STREAM: self.stream, **({_VIEW: self.view} if self.view is not None else {})}
        if all(header(name) in {None, each} for name, each in wanted.items()):
            return None
        return RefusedError(
            http.client.NOT_FOUND,
            where=f"stream {self.stream}",
            expected="an answer of this stream" if self.view is None else f"a stream of the view {self.view}",
            got=f"an answer of the stream {header(_STREAM)}, of the view {header(_VIEW)}",
            request=header("X-Request-Id"),
        )

    def among(self, streams: Sequence[Mapping[str, Any]]) -> "Origin":
        """Return the origin that is meant, if the service has these streams, as `/streams` lists them.

        Raises RefusedError, with the streams that there are, if no stream or more than one can be meant.

        >>> Origin("events", "sets", given=False).among([{"name": "shop", "view": "sets"}])
        Origin(stream='shop', view='sets', given=True)
        """
        known = [each["name"] for each in streams if self.view in {None, each["view"]}]
        if self.stream in known:
            return Origin(self.stream, self.view)
        if not self.given and len(known) == 1:
            return Origin(known[0], self.view)
        listed = ", ".join(f"{each['name']} ({each['view']})" for each in streams[:_SHOWN])
        listed += f", and {len(streams) - _SHOWN} more" if len(streams) > _SHOWN else ""
        kind = "a stream" if self.view is None else f"a stream of the view {self.view}"
        is_other = not self.given or any(each["name"] == self.stream for each in streams)
        near = [] if is_other else difflib.get_close_matches(self.stream[:200], known, n=1)
        raise RefusedError(
            http.client.NOT_FOUND,
            where="stream",
            expected=f"{near[0]}, perhaps" if near else f"{kind}; the service has {listed or 'no streams'}",
            got=self.stream if self.given else "no name",
            request=None,
        )

    def renamed(self, path: str, to: "Origin") -> str:
        """Return a path that begins with the name of this stream, with the name of another one, quoted.

        >>> Origin("events").renamed("/events/get-sets", Origin("shop"))
        '/shop/get-sets'
        """
        rest = path.removeprefix(f"/{self.stream}")
        return f"/{quote(to.stream, safe='')}{rest}" if rest[:1] in {"", "/"} else path


def is_missing(error: RefusedError) -> bool:
    """Whether the service has no such path, or another stream answered: the stream may be absent."""
    return error.status == http.client.NOT_FOUND and (error.where == "path" or error.where.startswith("stream "))
