"""Who may ask what: the guard that stands around the application. By method, path and headers alone; it reads no body.

Three questions: is the request meant for this service (its Host), does another site make a browser send it (its Origin), and
does it show a token that may do this. Every answer, also one of an error, gets the headers that keep browsers from mischief.
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
from gateway.wire.limits import Allowance, Limits

OPEN = frozenset({"/", "/livez", "/readyz", "/startupz", "/docs", "/static", "/favicon.ico"})
"""Paths that need no token: what a machine asks all the time, and what a browser gets before anybody has typed one in."""

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
"""The headers that every answer has."""

_NO_STORE = (b"cache-control", b"no-store")
_ASK_AGAIN = (b"cache-control", b"private, no-cache")


class Guard:
    """ASGI middleware around `app`, which listens at `address`; hosts and tokens are those of `allowance`."""

    def __init__(self, app: ASGIApp, allowance: Allowance, address: str) -> None:
        self._app = app
        self._allowance = allowance
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass, and answer the rest."""
        if scope["type"] != "http":
            assert scope["type"] == "lifespan", "there are no WebSockets"
            await self._app(scope, receive, send)
            return
        static = scope["path"].startswith(_OPEN_BELOW)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _guarded(message.get("headers", ()), static=static)}
            await send(message)
            if message.get("more_body"):
                # A block whose client is gone is dropped without a wait: others, and who tells the answer so, need a turn.
                await asyncio.sleep(0)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response(scope)(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _check(self, scope: Scope) -> None:
        """Raise a Problem where the request may not pass."""
        limits, headers = self._allowance.now, Headers(scope=scope)
        host = self._own_host(headers, limits)
        if scope["method"] not in _SAFE:
            _hold_own_site(headers, host)
        needed = needs(scope["method"], scope["path"])
        if limits.tokens and needed is not None:
            _hold_scope(headers.getlist("authorization"), needed, limits)

    def _own_host(self, headers: Headers, limits: Limits) -> str:
        """Return the Host of a request that is meant for this service: a name of others may have been pointed here."""
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
    """Return the scope that a token must have for a request, `read` or `write`; None where it needs none.

    >>> needs("GET", "/livez"), needs("GET", "/events/get-sets"), needs("DELETE", "/dataset"), needs("POST", "/livez")
    (None, 'read', 'write', 'write')
    """
    if method not in _SAFE:
        return "write"
    return None if path in OPEN or path.startswith(_OPEN_BELOW) else "read"


def scope_of(token: bytes, tokens: Iterable[tuple[str, bytes]]) -> str | None:
    """Return what a token may: `write`, which includes reading, `read`, or nothing. Takes as long whichever it is.

    >>> known = [("read", sha256(b"r").digest()), ("write", sha256(b"w").digest())]
    >>> scope_of(b"r", known), scope_of(b"w", known), scope_of(b"x", known)
    ('read', 'write', None)
    """
    digest = sha256(token).digest()
    found = [scope for scope, known in tokens if hmac.compare_digest(digest, known)]
    return "write" if "write" in found else "read" if found else None


def _hold_scope(given: list[str], needed: str, limits: Limits) -> None:
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


def _hold_own_site(headers: Headers, host: str) -> None:
    """Hold that no page of another site sends what changes something: a browser says where a request comes from."""
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    for origin in origins:
        if origin.lower().rpartition("://")[2] != host:
            raise Problem(403, where="header Origin", expected=f"a page of {host}", got=origin[:_SHOWN])
    for site in sites:
        if site.lower() not in _OWN:
            raise Problem(403, where="header Sec-Fetch-Site", expected="same-origin", got=site[:_SHOWN])


def _is_ours(name: str, address: str) -> bool:
    """Whether a name is loopback's, or `address`. Where that is any address, each is: only names can be pointed elsewhere."""
    if name in {"localhost", _plain(address)}:
        return True
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        return False
    return literal.is_loopback or _plain(address) in {"0.0.0.0", "::"}  # noqa: S104  # compared, not listened at


def _plain(name: str) -> str:
    """Return a name without case, brackets, and the dot that may end it."""
    return name.lower().strip("[]").removesuffix(".")


def _guarded(headers: Iterable[tuple[bytes, bytes]], *, static: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with ours, where it has none of that name. Answers are not kept, unless they say otherwise."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    own += [header for header in HEADERS if header[0] not in names]
    if b"cache-control" not in names and not static:
        own.append(_ASK_AGAIN if b"etag" in names else _NO_STORE)
    return own
