"""The guard: tokens for every route, on loopback and off; names of hosts, other sites, and the headers of responses."""

import json
import os
import socket
import stat
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from config.load import SettingsError, load
from config.settings import Http as HttpSettings
from config.tokens import tokens
from gateway.wire.guard import Guard, needs, scope_of
from scripts.checkout import ROOT
from tests.actors import test_fuzz
from tests.support.allowed import allowance
from tests.support.forked import run_forked
from tests.support.service import command, service

READ, WRITE, WRONG = "r" * 16, "w" * 16, "x" * 16
TOKENS = (("read", sha256(READ.encode()).digest()), ("write", sha256(WRITE.encode()).digest()))
Http = test_fuzz.Http
http = test_fuzz.http
ANYWHERE = "0.0.0.0"  # noqa: S104  # only the service of the last test listens there

OPEN = {"/", "/livez", "/readyz", "/startupz", "/docs", "/static"}


class Guarded:
    """The application over real streams, behind a separate guard."""

    def __init__(self, http: Http, *, address: str = "127.0.0.1", host: str = "localhost:8080", **limits: Any) -> None:
        self.http = copy(http)
        self.http.app = Guard(http.app, allowance(**limits), address)
        self.host = host

    def ask(self, method: str, path: str, *, token: str | None = None, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
        given = {"host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        return self.http.request(method, path.encode(), b"", raw, b"")


def asked(http: Http) -> list[tuple[str, str]]:
    """Return every method and path of the application, with values for parameters, without the endless `/live`."""
    found = []
    for route in http.app.routes:
        for method in sorted(route.methods - {"HEAD"}):
            path = route.path.replace("{batch}", "1").replace("{name:path}", "none.js").replace("{name}", "sets")
            if path != "/live":
                found.append((method, path))
    assert {("GET", "/"), ("GET", "/sets/get-sets"), ("POST", "/top"), ("DELETE", "/top"), ("GET", "/metrics")} <= set(found)
    return [*found, ("GET", "/nothing"), ("PUT", "/livez"), ("POST", "/static/none.js"), ("OPTIONS", "/top")]


@pytest.mark.parametrize("address", ["127.0.0.1", ANYWHERE])
def test_each_route_requires_the_token_of_its_method(http: Http, address: str):
    behind = Guarded(http, address=address, tokens=TOKENS)
    for method, path in asked(http):
        writes = method not in {"GET", "OPTIONS"}
        is_open = not writes and (path in OPEN or path.startswith("/static/"))
        for token, scopes in ((None, ()), (WRONG, ()), (READ, ("read",)), (WRITE, ("read", "write"))):
            status, headers, body = behind.ask(method, path, token=token)
            case = (method, path, token, status, body)
            if is_open or ("write" if writes else "read") in scopes:
                assert status not in {401, 403, 421}, case
            else:
                assert status == (403 if scopes else 401), case
                assert headers[b"www-authenticate"].startswith(b"Bearer"), case
                error = json.loads(body)["error"]
                assert (error["status"], error["where"]) == (status, "header Authorization"), case
                assert error["request"] == headers[b"x-request-id"].decode(), case


def test_without_tokens_each_route_answers_on_loopback(http: Http):
    behind = Guarded(http)
    for method, path in asked(http):
        assert behind.ask(method, path)[0] not in {401, 403, 421}, (method, path)


def test_the_guard_requires_the_scope_that_each_operation_describes(http: Http):
    described = json.loads(Guarded(http).ask("GET", "/openapi.json")[2])
    count = 0
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert (needs(method.upper(), path) is None) == (operation["security"] == []), (method, path)
            count += 1
    assert count > 10


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Bearer", "Bearer ", f"Basic {READ}", READ, f"Bearer {READ} {READ}", f"Bearer {READ}\tx", f"Bearer x{READ}",
        f"Bearer {READ[:-1]}", f"Bearer {READ.upper()}", "Bearer " + "r" * 5_000, "Bearer é", f"Bearer {sha256(READ.encode()).hexdigest()}",
    ],
)  # fmt: skip
def test_an_unknown_token_is_refused(http: Http, authorization: str):
    assert Guarded(http, tokens=TOKENS).ask("GET", "/sets/get-stats", authorization=authorization)[0] == 401


def test_the_case_of_the_scheme_is_ignored(http: Http):
    assert Guarded(http, tokens=TOKENS).ask("GET", "/sets/get-stats", authorization=f"bearer {READ}")[0] == 200


@given(
    st.lists(st.tuples(st.sampled_from(["read", "write"]), st.binary(min_size=1, max_size=3)), max_size=6),
    st.binary(max_size=3),
)
def test_a_token_has_the_largest_of_its_scopes(known: list[tuple[str, bytes]], token: bytes):
    scopes = {scope for scope, each in known if each == token}
    expected = "write" if "write" in scopes else "read" if scopes else None
    assert scope_of(token, [(scope, sha256(each).digest()) for scope, each in known]) == expected


OURS = [
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.9.9.9",
    "[::1]",
    "[::1]:8080",
    "firnline.lan",
    "a.b:80",
]
OTHERS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "192.168.1.6",
    "[fe80::1]",
    "2130706433",
    "0x7f.1",
    "firnline",
    "a.b.c",
]
BROKEN = [
    "",
    "a b",
    "a:b",
    "a:1:2",
    "localhost@evil.example",
    "[::1",
    "::1",
    "localhost/",
    "http://localhost",
    "a\\b",
    "localhost:123456",
]


@pytest.mark.parametrize("host", [*OURS, "192.168.1.5", "192.168.1.5:8080"])
def test_the_service_accepts_its_own_names(http: Http, host: str):
    behind = Guarded(http, address="192.168.1.5", host=host, hosts=("Firnline.LAN", "a.b"))
    assert behind.ask("GET", "/livez")[0] == 200


@pytest.mark.parametrize("host", OTHERS)
def test_another_host_name_is_misdirected_also_on_loopback(http: Http, host: str):
    for address in ("127.0.0.1", "192.168.1.5"):
        status, _, body = Guarded(http, address=address, host=host, hosts=("firnline.lan", "a.b")).ask("GET", "/livez")
        assert (status, json.loads(body)["error"]["where"]) == (421, "header Host")


@pytest.mark.parametrize("host", BROKEN)
def test_an_invalid_host_is_refused(http: Http, host: str):
    assert Guarded(http, host=host).ask("GET", "/livez")[0] == 400


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]])
def test_exactly_one_host_header_is_required(http: Http, hosts: list[bytes]):
    status, _, _ = Guarded(http).http.request("GET", b"/livez", b"", [(b"host", host) for host in hosts], b"")
    assert status == 400


def test_a_service_on_any_address_accepts_addresses_and_no_foreign_name(http: Http):
    for address in (ANYWHERE, "::"):
        assert Guarded(http, address=address, host="10.1.2.3:8080").ask("GET", "/livez")[0] == 200
        assert Guarded(http, address=address, host="[fd00::7]").ask("GET", "/livez")[0] == 200
        assert Guarded(http, address=address, host="evil.example").ask("GET", "/livez")[0] == 421


@pytest.mark.parametrize("tokens", [(), TOKENS])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_no_request_from_another_site_changes_data(http: Http, method: str, tokens: Any):
    behind = Guarded(http, tokens=tokens)
    own = {"origin": "http://localhost:8080", "sec_fetch_site": "same-origin"}
    foreign = [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:8081"},
        {"origin": "http://localhost:8080.evil.example"},
        {"origin": "http://localhost"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://localhost:8080"},
    ]
    for headers in foreign:
        status, _, body = behind.ask(method, "/top", token=WRITE, **headers)
        assert status == 403, headers
        assert json.loads(body)["error"]["where"] in {"header Origin", "header Sec-Fetch-Site"}
    assert behind.ask(method, "/top", token=WRITE, **own)[0] != 403
    assert behind.ask(method, "/top", token=WRITE)[0] != 403


def test_no_response_allows_another_site_to_read_it(http: Http):
    behind = Guarded(http)
    for method, headers in (("GET", {}), ("OPTIONS", {"access_control_request_method": "DELETE"})):
        _, found, _ = behind.ask(method, "/top", origin="http://evil.example", **headers)
        assert not [name for name in found if name.startswith(b"access-control")]


def test_every_response_has_the_security_headers(http: Http):
    behind = Guarded(http, tokens=TOKENS)
    policies = set()
    for method, path in asked(http):
        for token in (None, WRITE):
            status, headers, _ = behind.ask(method, path, token=token)
            case = (method, path, status)
            policies.add(headers[b"content-security-policy"])
            assert headers[b"x-content-type-options"] == b"nosniff", case
            assert headers[b"referrer-policy"] == b"no-referrer", case
            assert headers[b"cross-origin-resource-policy"] == b"same-origin", case
            assert b"camera=()" in headers[b"permissions-policy"], case
            assert path.startswith("/static") or b"no-" in headers[b"cache-control"], case
    (policy,) = policies
    assert policy.startswith(b"default-src 'none'; ")
    assert b"unsafe" not in policy
    assert b"frame-ancestors 'none'" in policy


# Sources of tokens ---------------------------------------------------------------------------------------------------


def listed(tmp_path: Path, text: str, mode: int = 0o600) -> HttpSettings:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return HttpSettings(tokens=path)


def test_tokens_are_read_from_the_environment_and_a_file_together(tmp_path: Path):
    settings = listed(tmp_path, f"# ours\n\nread {READ}\n  write   {WRITE}\nread {'s' * 20}==\n", 0o640)
    found = tokens(settings, {"FIRNLINE_WRITE_TOKEN": "e" * 16, "FIRNLINE_READ_TOKEN": ""})
    for token, scope in ((READ, "read"), (WRITE, "write"), ("s" * 20 + "==", "read"), ("e" * 16, "write"), ("", None)):
        assert scope_of(token.encode(), found) == scope


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (f"read {READ}", 0o604, "other users cannot read"),
        (f"read {READ}\nadmin {WRITE}", 0o600, ":2: expected `read TOKEN`"),
        (f"read {READ} {WRITE}", 0o600, ":1: expected"),
        (READ, 0o600, ":1: expected"),
        ("read short", 0o600, "16 or more"),
        (f"read {READ}é", 0o600, "16 or more"),
        ("# none\n", 0o600, "at least one token"),
    ],
)
def test_an_invalid_token_file_is_refused_and_its_tokens_are_not_shown(tmp_path: Path, text: str, mode: int, message: str):
    with pytest.raises(ValueError, match=message) as refused:
        tokens(listed(tmp_path, text, mode), {})
    assert READ not in str(refused.value)
    assert WRITE not in str(refused.value)


def test_a_missing_token_file_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="No such file"):
        tokens(HttpSettings(tokens=tmp_path / "none"), {})


def test_no_text_of_the_settings_shows_a_token(tmp_path: Path):
    environ = {"FIRNLINE_READ_TOKEN": READ, "FIRNLINE_WRITE_TOKEN": WRITE, "FIRNLINE_TOKEN": WRONG}
    settings = load(None, [], environ)
    limits = allowance(tokens=tokens(settings.http, environ)).now
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json(), repr(limits), str(limits)):
        assert not any(token in shown for token in (READ, WRITE, WRONG, sha256(READ.encode()).hexdigest()))
    with pytest.raises(SettingsError) as refused:
        load(None, [], {"FIRNLINE_READ__TOKEN": READ})
    assert READ not in str(refused.value)


@pytest.mark.parametrize("name", ["static", "docs", "livez", "metrics", "streams", "live", "config"])
def test_a_stream_cannot_have_the_name_of_an_open_path(name: str):
    with pytest.raises(SettingsError, match="the service itself has that path"):
        load(None, [f"streams.{name}.view=words", f"streams.{name}.source.topic=t"], {})


# The real service ----------------------------------------------------------------------------------------------------


def test_off_loopback_no_token_is_needed_if_a_trusted_proxy_decides_who_comes(embedded: str, mock_topic: str):
    for host, trusted in ((ANYWHERE, True), ("::", True), ("127.0.0.1", False)):
        assert tokens(HttpSettings(host=host, trusted_proxy=trusted), {}) == ()
    with pytest.raises(ValueError, match="trusted_proxy"):
        tokens(HttpSettings(host=ANYWHERE), {})
    given = tokens(HttpSettings(host=ANYWHERE, trusted_proxy=True), {"FIRNLINE_READ_TOKEN": "r" * 16})
    assert given, "tokens that are given are required"
    with service(embedded, mock_topic, f"http.host={ANYWHERE}", "http.trusted_proxy=true") as running:
        assert running.get("/streams")["streams"]
        assert running.request("/streams", Host="example.com")[0] == 421, "a name of another site is refused as before"


def test_compose_publishes_on_loopback_alone_and_asks_for_no_token():
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    for name, each in compose.items():
        assert all(str(port).startswith("127.0.0.1:") for port in each.get("ports", [])), name
    environ = {name: str(value) for name, value in compose["firnline"]["environment"].items()}
    assert environ["FIRNLINE_HTTP__TRUSTED_PROXY"] == "true"
    assert {value for name, value in environ.items() if name.endswith("_TOKEN")} == {
        "${FIRNLINE_READ_TOKEN:-}",
        "${FIRNLINE_WRITE_TOKEN:-}",
    }


def test_off_loopback_the_service_does_not_start_without_a_token():
    environ = {name: "" for name in os.environ if name.endswith("_TOKEN")}
    for host in (ANYWHERE, "::"):
        ended = run_forked(command("serve", "--set", f"http.host='{host}'", "--set", "http.port=0"), environ=environ)
        assert ended.returncode == 1
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"firnline: http.host: {host} is no loopback address, so a token is needed")
        assert "FIRNLINE_READ_TOKEN" in line
        assert "http.tokens" in line


def test_a_service_off_loopback_requires_tokens_and_prints_none(embedded: str, mock_topic: str, tmp_path: Path):
    path = tmp_path / "tokens"
    path.write_text(f"write {WRITE}\n")
    path.chmod(stat.S_IRUSR)
    with service(embedded, mock_topic, f"http.host={ANYWHERE}", f"http.tokens={path}", FIRNLINE_READ_TOKEN=READ) as running:
        assert running.request("/livez")[0] == 200
        assert running.request("/events/get-stats")[0] == 401
        for token, status in ((READ, 200), (WRITE, 200), (WRONG, 401)):
            assert running.request("/events/get-stats", Authorization=f"Bearer {token}")[0] == status
        reload = {
            token: running.request("/config/reload", "POST", Authorization=f"Bearer {token}")[0] for token in (READ, WRITE)
        }
        assert reload == {READ: 403, WRITE: 200}
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 421 ")
        # A reload replaces the tokens; the old ones are refused.
        path.chmod(0o600)
        path.write_text(f"write {WRONG}\n")
        assert running.request("/config/reload", "POST", Authorization=f"Bearer {WRITE}")[0] == 200
        assert [running.request("/events/get-stats", Authorization=f"Bearer {token}")[0] for token in (WRITE, WRONG)] == [
            401,
            200,
        ]
        code, printed = running.stop()
        assert code in {0, -15, 143}
        assert not any(token in printed for token in (READ, WRITE, WRONG))
