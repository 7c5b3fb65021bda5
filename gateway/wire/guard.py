"""Refuses requests that are not allowed, by method, path and headers. It reads no body.

It checks three things: the Host header names this service, the Origin header is not another site, and the token has the needed
scope. Every answer, also an error, gets security headers for browsers.
"""

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Iterable
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.errors import Problem
from gateway.wire.layer import Layer
from gateway.wire.limits import Allowance, Limits

OPEN = frozenset({"/", "/livez", "/readyz", "/startupz", "/docs", "/static", "/favicon.ico"})
"""Paths that need no token: the probes, and the files that a browser loads before the user types a token."""

_OPEN_BELOW = "/static/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})
_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:[0-9]{0,5})?")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*) *")
_LONGEST_TOKEN = 4_096
_SHOWN = 100

HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
            b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"x-frame-options", b"DENY"),
)
"""The headers of every answer."""

_NO_STORE = (b"cache-control", b"no-store")
_ASK_AGAIN = (b"cache-control", b"private, no-cache")


class Guard(Layer):
    """Guards `app`, whose server listens at `address`. The hosts and tokens are those of `allowance`."""

    def __init__(self, app: ASGIApp, allowance: Allowance, address: str) -> None:
        super().__init__(app)
        self._allowance = allowance
        self._address = address

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on, and answer any other with a problem."""
        static = scope["path"].startswith(_OPEN_BELOW)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _guarded(message.get("headers", ()), static=static)}
            await send(message)
            if message.get("more_body"):
                # `send` does not wait if the client is gone. The loop needs a turn to report that, and for other requests.
                await asyncio.sleep(0)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response(scope)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)

    def _check(self, scope: Scope) -> None:
        """Raise a Problem if the request is not allowed."""
        limits, headers = self._allowance.now, Headers(scope=scope)
        host = self._own_host(headers, limits)
        if scope["method"] not in _SAFE:
            _require_own_site(headers, host)
        needed = needs(scope["method"], scope["path"])
        if limits.tokens and needed is not None:
            _require_scope(headers.getlist("authorization"), needed, limits)

    def _own_host(self, headers: Headers, limits: Limits) -> str:
        """Return the request's Host. Raises a Problem if it does not name this service: a foreign name may point here."""
        hosts = headers.getlist("host")
        found = _AUTHORITY.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None:
            raise Problem(400, where="header Host", expected="one name, perhaps with a port", got=repr(hosts)[:_SHOWN])
        name = _plain(found[1])
        if not (_is_ours(name, self._address) or name in map(_plain, limits.hosts)):
            expected = "localhost, the address that is listened at, or a name of http.hosts"
            raise Problem(421, where="header Host", expected=expected, got=name[:_SHOWN])
        return hosts[0].lower()


def needs(method: str, path: str) -> str | None:
    """Return the scope that a token must have for a request, `read` or `write`; None if it needs no token.

    >>> needs("GET", "/livez"), needs("GET", "/events/get-sets"), needs("DELETE", "/dataset"), needs("POST", "/livez")
    (None, 'read', 'write', 'write')
    """
    if method not in _SAFE:
        return "write"
    return None if path in OPEN or path.startswith(_OPEN_BELOW) else "read"


def scope_of(token: bytes, tokens: Iterable[tuple[str, bytes]]) -> str | None:
    """Return the scope of a token: `write`, which includes `read`, or `read`, or None. The time does not depend on the token.

    >>> known = [("read", sha256(b"r").digest()), ("write", sha256(b"w").digest())]
    >>> scope_of(b"r", known), scope_of(b"w", known), scope_of(b"x", known)
    ('read', 'write', None)
    """
    digest = sha256(token).digest()
    found = [scope for scope, known in tokens if hmac.compare_digest(digest, known)]
    return "write" if "write" in found else "read" if found else None


def _require_scope(given: list[str], needed: str, limits: Limits) -> None:
    shown = _BEARER.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= _LONGEST_TOKEN else None
    scope = scope_of(shown[1].encode(), limits.tokens) if shown else None
    expected = f"Bearer, and a token that may {needed}"
    if scope is None:
        got = "nothing" if not given else "a token that is not known" if shown else "something else"
        challenge = 'Bearer realm="firnline"' + (', error="invalid_token"' if given else "")
        raise Problem(401, where="header Authorization", expected=expected, got=got, headers={"WWW-Authenticate": challenge})
    if needed == "write" != scope:
        challenge = 'Bearer realm="firnline", error="insufficient_scope", scope="write"'
        raise Problem(
            403,
            where="header Authorization",
            expected=expected,
            got=f"one that may {scope}",
            headers={"WWW-Authenticate": challenge},
        )


def _require_own_site(headers: Headers, host: str) -> None:
    """Raise a Problem if a page of another site sent the request. A browser names the site in Origin or Sec-Fetch-Site."""
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    for origin in origins:
        if origin.lower().rpartition("://")[2] != host:
            raise Problem(403, where="header Origin", expected=f"a page of {host}", got=origin[:_SHOWN])
    for site in sites:
        if site.lower() not in _OWN:
            raise Problem(403, where="header Sec-Fetch-Site", expected="same-origin", got=site[:_SHOWN])


def _is_ours(name: str, address: str) -> bool:
    """Whether a name is loopback's or `address`. If `address` is any address, every literal address is accepted."""
    if name in {"localhost", _plain(address)}:
        return True
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        return False
    return literal.is_loopback or _plain(address) in {"0.0.0.0", "::"}  # noqa: S104  # compared, not listened at


def _plain(name: str) -> str:
    """Return a name in lower case, without brackets and without a dot at its end."""
    return name.lower().strip("[]").removesuffix(".")


def _guarded(headers: Iterable[tuple[bytes, bytes]], *, static: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with each of ours that is missing. Without an entity tag, the answer must not be stored."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    own += [header for header in HEADERS if header[0] not in names]
    if b"cache-control" not in names and not static:
        own.append(_ASK_AGAIN if b"etag" in names else _NO_STORE)
    return own
