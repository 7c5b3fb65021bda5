"""Asks a schema registry for schemas: the part of Confluent's HTTP API that other registries have too.

Each call waits for the registry, for a limited time. No library of Kafka is used: confluent-kafka's client asks for more than
schemas, and repeats requests without an end.
"""

import base64
import http.client
import ssl
import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from actors.records.schemas.framing import Name
from actors.replies import Troubled

_TIMEOUT_S = 5.0
_DEADLINE_S = 20.0
_LONGEST = 8 << 20
_MOST_REFERENCES = 200
_BLOCK = 1 << 16
_NOT_FOUND = frozenset({40401, 40402, 40403})
"""The codes with which a registry says that it has no such schema, in an answer with the status 404."""

_BUSY = frozenset({408, 425, 429})
_NO_RIGHT = frozenset({401, 403, 407})


class AwayError(Exception):
    """The registry gives no answer now. `state` is that of a `Trouble`, the text its reason."""

    def __init__(self, state: Troubled, reason: str) -> None:
        super().__init__(reason)
        self.state: Troubled = state


class Found(NamedTuple):
    """A schema: its type such as AVRO, its text, and the schemas that it refers to by their names, each after its own."""

    kind: str
    text: str
    references: Sequence[tuple[str, str]]


class _Reference(msgspec.Struct):
    name: str
    subject: str
    version: int


class _Schema(msgspec.Struct, rename="camel"):
    schema: str
    schema_type: str | None = None
    references: list[_Reference] | None = None


class _Error(msgspec.Struct):
    error_code: int


class RegistryClient:
    """Reads schemas at `url`, with a user and password in `login` (`USER:PASSWORD`) if there is one. Any thread may use it."""

    def __init__(self, url: str, login: str | None = None) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host, self._port, self._base = str(parts.hostname), parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if login is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    def schema(self, name: Name) -> Found | None:
        """Return the schema of a name; None if the registry has none. Raises AwayError. May wait 20 s for each schema.

        A registry without a way to ask for a GUID, such as Apicurio 2.4, counts as no registry if it is asked for one.
        """
        found = self._read(f"/schemas/{'ids' if isinstance(name, int) else 'guids'}/{written(name)}")
        if found is None:
            return None
        references: dict[str, str] = {}
        if not self._add(found.references or (), references, set()):
            return None
        return Found(found.schema_type or "AVRO", found.schema, list(references.items()))

    def _add(self, wanted: Sequence[_Reference], references: dict[str, str], seen: set[tuple[str, int]]) -> bool:
        """Add the schemas `wanted` to `references`, each after those that it refers to. Returns False if one is missing."""
        for each in wanted:
            if (each.subject, each.version) in seen:
                continue
            seen.add((each.subject, each.version))
            if len(seen) > _MOST_REFERENCES:
                raise AwayError("refused", f"{self.url}: a schema refers to more than {_MOST_REFERENCES} others")
            found = self._read(f"/subjects/{quote(each.subject, safe='')}/versions/{each.version}")
            if found is None or not self._add(found.references or (), references, seen):
                return False
            references[each.name] = found.schema
        return True

    def _read(self, path: str) -> _Schema | None:
        status, reason, body = self._get(path)
        if status == http.HTTPStatus.OK:
            try:
                return msgspec.json.decode(body, type=_Schema)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise AwayError("refused", f"{self.url}: expected a schema, got something else") from None
        if status == http.HTTPStatus.NOT_FOUND and _code_of(body) in _NOT_FOUND:
            return None
        if status in _NO_RIGHT:
            raise AwayError("refused", f"{self.url}: {status} {reason}: a user with the right to read schemas is needed")
        if status in _BUSY or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AwayError("unreachable", f"{self.url}: {status} {reason}")
        raise AwayError("refused", f"{self.url}: expected a schema registry, got {status} {reason} for {path}")

    def _get(self, path: str) -> tuple[int, str, bytes]:
        deadline = time.monotonic() + _DEADLINE_S
        connection = self._connection()
        try:
            connection.request("GET", self._base + path, headers=self._headers)
            response = connection.getresponse()
            body = b""
            while block := response.read(_BLOCK):
                body += block
                if len(body) > _LONGEST:
                    raise AwayError("refused", f"{self.url}: expected at most {_LONGEST >> 20} MiB for {path}, got more")
                if time.monotonic() > deadline:
                    raise AwayError("unreachable", f"{self.url}: no complete answer in {_DEADLINE_S:.0f} s")
        except (OSError, http.client.HTTPException) as error:
            raise AwayError("unreachable", f"{self.url}: {_words(error)}") from None
        finally:
            connection.close()
        return response.status, response.reason, body

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._tls)


def written(name: Name) -> str:
    """Return the name of a schema as text: a number, or a GUID with dashes."""
    return str(name) if isinstance(name, int) else str(uuid.UUID(bytes=name))


def _code_of(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_Error).error_code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _words(error: Exception) -> str:
    """Return an error in words that do not differ from one attempt to the next."""
    if isinstance(error, TimeoutError):
        return f"no answer in {_TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
