"""The tokens of clients: read from the environment or a file, and kept only as digests.

Used by the composition root, at the start and at a reload. No message of this module contains a token.
"""

import ipaddress
import re
import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from config.settings import Http

SCOPES = ("read", "write")
VARIABLES = {f"FIRNLINE_{scope.upper()}_TOKEN": scope for scope in SCOPES}
"""The variables that hold a token, by scope. They are not settings, so no listing of settings shows them."""

_FIT = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_SHORTEST = 16
_LONGEST_FILE = 1 << 20


def tokens(http: Http, environ: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """Return each token as its scope, `read` or `write`, and its SHA-256.

    Raises ValueError if a token is malformed, if the file is empty or readable by all users, or if there is no token although
    other machines can reach the configured address without a trusted proxy.
    """
    found = [(scope, _digest(environ[name], f"environment {name}")) for name, scope in VARIABLES.items() if environ.get(name)]
    if http.tokens is not None:
        listed = list(_of_file(http.tokens))
        if not listed:
            raise ValueError(f"http.tokens: expected at least one token, got none in {http.tokens}")
        found += listed
    if not found and not http.trusted_proxy and not is_loopback(http.host):
        raise ValueError(
            f"http.host: {http.host} is no loopback address, so a token is needed: FIRNLINE_READ_TOKEN or FIRNLINE_WRITE_TOKEN"
            " in the environment, or a file of lines `read TOKEN` and `write TOKEN` that http.tokens names;"
            " or set http.trusted_proxy if the port is published on loopback alone"
        )
    return tuple(dict.fromkeys(found))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. Every name except `localhost` counts as reachable by others.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "192.168.1.5", "example")]
    [True, True, True, False, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _of_file(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the tokens of a file; blank lines and lines that begin with # are skipped."""
    try:
        with path.open("rb") as opened:
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO:
                raise ValueError(f"http.tokens: expected a file that other users cannot read, got {path}: chmod o-rwx {path}")
            lines = opened.read(_LONGEST_FILE).decode("ascii", "replace").splitlines()
    except OSError as error:
        raise ValueError(f"http.tokens: expected a file to read, got {path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        scope, *rest = line.split()
        if scope not in SCOPES or len(rest) != 1:
            raise ValueError(f"{path}:{number}: expected `read TOKEN` or `write TOKEN`, got something else")
        yield scope, _digest(rest[0], f"{path}:{number}")


def _digest(token: str, place: str) -> bytes:
    if len(token) < _SHORTEST or not _FIT.fullmatch(token):
        raise ValueError(f"{place}: expected a token of {_SHORTEST} or more letters, digits and -._~+/, got something else")
    return sha256(token.encode()).digest()
