"""What holds for every route: envelope, limits, encodings, origins, proxies, slow clients."""

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from kernel.errors import BootError
from kernel.testing import MakeServer, Server
from kernel.web import replies as web
from kernel.web import routing
from plugins.http_server import protocol
from tests.waiting import eventually

LOGIN = "/api/v1/auth/login"
ROLES = "/api/v1/apps/core/roles"
JSON = {"content-type": "application/json"}


def is_envelope(answer: httpx.Response) -> bool:
    """Whether a reply is `{"error": "<one sentence>"}`, as JSON, and nothing else."""
    body = json.loads(answer.content)
    return (
        answer.headers["content-type"] == "application/json"
        and set(body) == {"error"}
        and isinstance(body["error"], str)
        and body["error"] != ""
        and "\n" not in body["error"]
        and answer.content.endswith(b"}")
    )


def talk(server: Server, *pieces: bytes, pause: float = 0.0, wait: float = 5.0) -> bytes:
    """Send bytes over a socket, then read until the server closes or is silent for `wait`; for
    its first word it has ten seconds."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.settimeout(max(wait, 10))
        received = b""
        try:
            for piece in pieces:
                try:
                    connection.sendall(piece)
                except ConnectionError:
                    break  # refused meanwhile; what it said before is there all the same
                if select.select([connection], [], [], pause)[0]:
                    break  # an answer, or the end: what is sent now may reset the connection
            while chunk := connection.recv(65536):
                received += chunk
                connection.settimeout(wait)
        except (TimeoutError, ConnectionError):
            pass
        return received


def is_closed_by(server: Server) -> bool:
    """Connect and say nothing; whether the server closes within a minute."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.settimeout(60)
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


def head(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# The envelope


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/apps/core/roles/",
     "/api/v1//apps", "//health", "/health/", "/" + "x" * 5000, "/%00", "/%ff%fe", "/.."],
)  # fmt: skip
def test_an_unknown_route_is_404_with_and_without_a_token(server: Server, path: str):
    for client in (server.http, server.admin):
        answer = client.get(f"{server.url}{path}")
        assert answer.status_code == 404
        assert is_envelope(answer)


@pytest.mark.parametrize("method", ["PUT", "TRACE", "DELETE", "PATCH", "POST", "PROPFIND", "PURGE"])
def test_a_wrong_method_is_405_with_and_without_a_token(server: Server, method: str):
    for client in (server.http, server.admin):
        answer = client.request(method, "/api/v1/auth/me")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        assert is_envelope(answer)


def test_a_method_override_is_ignored(server: Server):
    headers = {"x-http-method-override": "GET", "x-method-override": "GET"}
    assert server.admin.post("/api/v1/auth/me?_method=GET", headers=headers).status_code == 405


def test_head_is_get_without_the_body(server: Server):
    for client, path in ((server.http, "/health"), (server.admin, "/api/v1/auth/me")):
        answer, full = client.head(path), client.get(path)
        assert answer.status_code == 200
        assert answer.content == b""
        assert answer.headers["content-length"] == str(len(full.content))
    assert server.http.head("/api/v1/auth/me").status_code == 401
    assert server.http.head("/nothing").content == b""


def test_options_shows_the_methods_without_a_token(server: Server):
    answer = server.http.options(ROLES)
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert server.http.options("/nothing").status_code == 404


def test_without_a_token_it_is_401_and_says_how(server: Server):
    answer = server.http.get("/api/v1/auth/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert is_envelope(answer)


def test_literal_segments_win_over_parameters(server: Server):
    assert server.admin.get(f"{ROLES}/assignments").status_code == 200
    assert server.admin.get("/api/v1/apps/core/permissions/available").status_code == 200
    assert server.admin.patch(f"{ROLES}/assign", json={}).status_code == 405


def test_an_unexpected_error_is_500_and_says_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    async def broken(*_: object) -> None:
        raise RuntimeError("select secret from /etc/passwd")

    monkeypatch.setattr(routing.RouteTable, "_serve", broken)
    answer = server.http.get("/health", headers={"x-request-id": "mine-500"})
    assert answer.status_code == 500
    assert is_envelope(answer)
    assert not re.search("secret|passwd|RuntimeError|Traceback", answer.text)
    assert answer.headers["x-request-id"] == "mine-500"


# Bodies


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"{", b'{"username": "a"', b"nonsense", b"null", b"[]", b'"x"', b"1", b"{}{}",
     b"{} x", b"{'a': 1}", b'{"username": NaN, "password": "x"}', b'{"username": "a",}',
     b'{"username": 1e999, "password": "x"}', b'{"username": {}, "password": []}',
     b'{"username": null, "password": null}', b'{"username": "a"}',
     b'{"username": "a\x01", "password": "x"}',
     b'{"username": "a", "password": ' + b"9" * 400 + b"}"],
    ids=lambda raw: repr(raw)[:40],
)  # fmt: skip
def test_a_body_that_is_no_json_or_of_another_shape_is_400(server: Server, raw: bytes):
    answer = server.http.post(LOGIN, content=raw, headers=JSON)
    assert answer.status_code == 400
    assert is_envelope(answer)


@pytest.mark.parametrize(
    "raw",
    [b'{"username": "\\u0000", "password": "x"}', b'{"username": "a", "password": "x\\u0000"}',
     b'{"username": "\x00", "password": "x"}', b'{"\\u0000": 1, "username": "a", "password": "x"}',
     b'{"username": "\xff", "password": "x"}', b'{"username": "\xed\xa0\x80", "password": "x"}',
     b'{"username": "\\ud800", "password": "x"}', b'{"username": "\\udc00\\ud800", "password": ""}',
     b'\xef\xbb\xbf{"username": "a", "password": "x"}',
     '{"username": "a", "password": "x"}'.encode("utf-16"),
     '{"username": "ä", "password": "x"}'.encode("latin-1"),
     b'{"username": "a", "password": "x", "dropped": "\xff"}',
     b'{"username": "a", "password": "x", "long": "' + "ä".encode() * 20_000 + b'\xc3"}'],
    ids=lambda raw: repr(raw)[-40:],
)  # fmt: skip
def test_nul_invalid_utf8_and_lone_surrogates_are_400(server: Server, raw: bytes):
    answer = server.http.post(LOGIN, content=raw, headers=JSON)
    assert answer.status_code == 400
    assert is_envelope(answer)


def test_text_in_members_that_no_one_reads_may_be_of_any_script(server: Server):
    long = "aä€🙂" * 40_000  # each of the three crosses the edge of a chunk somewhere
    raw = json.dumps({"name": "of_any_scripts", "long": long}, ensure_ascii=False).encode()
    assert server.admin.post(ROLES, content=raw, headers=JSON).status_code == 200


def test_an_escaped_backslash_before_u0000_is_no_nul(server: Server):
    raw = b'{"username": "\\\\u0000", "password": "x"}'
    assert server.http.post(LOGIN, content=raw, headers=JSON).status_code == 401


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_deep_json_is_400(server: Server, depth: int):
    for open_, close in ((b"[", b"]"), (b'{"a":', b"}")):
        raw = b'{"name": "x", "more": ' + open_ * depth + b"1" + close * depth + b"}"
        answer = server.admin.post(ROLES, content=raw, headers=JSON)
        assert answer.status_code == 400
        assert "nested" in answer.json()["error"]


def test_brackets_within_texts_are_no_depth(server: Server):
    body = {"name": "brackets", "description": "[" * 400 + '"' + "{" * 400}
    assert server.admin.post(ROLES, json=body).status_code == 200


@pytest.mark.parametrize(
    "raw", [b'["' + b'\\"' * 450_000, b"[" * 70 + b'"\\"' * 300_000, b"[" + b"[]," * 300_000]
)
def test_a_hostile_body_costs_no_time(server: Server, raw: bytes):
    started = time.process_time()  # the server is in this process; others cannot stretch it
    assert server.admin.post(ROLES, content=raw, headers=JSON).status_code == 400
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json",
     "application/json; charset=utf-16", "application/json; charset=latin-1", "application/jsonp",
     "application/xml", "*/*", ""],
)  # fmt: skip
def test_another_content_type_is_400(server: Server, kind: str):
    answer = server.http.post(LOGIN, content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 400
    assert is_envelope(answer)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8",
     'application/json;charset="UTF-8"', "application/merge-patch+json"],
)  # fmt: skip
def test_json_goes_by_several_names(server: Server, kind: str):
    raw = b'{"username": "no_one", "password": "x"}'
    answer = server.http.post(LOGIN, content=raw, headers={"content-type": kind})
    assert answer.status_code == 401


def test_a_page_cannot_post_without_a_content_type(server: Server):
    """A browser sends such a body to any address without a preflight."""
    for origin in ("http://evil.example", "null", server.url):
        answer = server.http.post(LOGIN, content=b"{}", headers={"origin": origin})
        assert answer.status_code == 400
        assert "content type" in answer.json()["error"]


def test_a_body_without_a_content_type_is_taken_as_json(server: Server):
    raw = b'{"username": "no_one", "password": "x"}'
    assert server.http.post(LOGIN, content=raw).status_code == 401


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x"])
def test_a_content_encoding_is_400(server: Server, coding: str):
    headers = {**JSON, "content-encoding": coding}
    assert server.http.post(LOGIN, content=b"{}", headers=headers).status_code == 400


# Limits


def test_auth_takes_64_kilobytes(server: Server):
    fits = b'{"username": "no_one", "password": "x"' + b" " * 60_000 + b"}"
    assert server.http.post(LOGIN, content=fits, headers=JSON).status_code == 401
    answer = server.http.post(LOGIN, content=b" " * 70_000, headers=JSON)
    assert answer.status_code == 413
    assert is_envelope(answer)


def test_a_chunked_body_is_counted_while_it_comes(server: Server):
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    answer = server.http.post(LOGIN, content=endless(), headers=JSON)
    assert answer.status_code == 413
    assert is_envelope(answer)


@pytest.mark.slow
def test_a_body_of_more_than_50_megabytes_reaches_no_route(server: Server):
    for path in (ROLES, "/api/v1/auth/register"):
        answer = server.admin.post(path, content=b" " * 51_000_000, headers=JSON)
        assert answer.status_code == 413
        assert is_envelope(answer)
    # On a busy machine the database may have been taken for one that is away meanwhile.
    eventually(lambda: server.admin.get("/api/v1/auth/me").status_code == 200)


@pytest.mark.slow
def test_a_declared_size_is_refused_before_a_byte_is_read(server: Server):
    request = head(
        f"POST {LOGIN} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        "Content-Length: 60000000000", "Expect: 100-continue",
    )  # fmt: skip
    answer = talk(server, request, wait=1)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


@pytest.mark.slow
def test_401_comes_before_the_body(server: Server):
    request = head(
        f"POST {ROLES} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        "Content-Length: 60000000000", "Expect: 100-continue",
    )  # fmt: skip
    answer = talk(server, request, wait=1)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer
    assert server.http.post(ROLES, content=b" " * 60_000_000).status_code == 401


@pytest.mark.slow
def test_what_a_route_asks_by_itself_comes_before_the_body(make_server: MakeServer, tmp_path: Path):
    (tmp_path / "late.py").write_text(LATE)
    server = make_server({"server": {"plugin_files": [str(tmp_path / "late.py")]}})
    request = head(
        "POST /closed HTTP/1.1", "Host: localhost", "Content-Length: 60", "Expect: 100-continue"
    )
    answer = talk(server, request, wait=1)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b'{"error":"closed"}')


def test_what_goes_on_after_its_refusal_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "MAX_UNREAD", 1_000_000)
    request = head(f"POST {ROLES} HTTP/1.1", "Host: localhost", "Content-Length: 60000000000")
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(request)
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(400):
                connection.sendall(b" " * 100_000)


def test_the_query_string_has_rules(server: Server):
    good = server.admin.get("/api/v1/audit?limit=5&app_id=core")
    assert good.status_code == 200
    for query in ("limit=5&limit=6", "app_id=%00", "app_id=%ff", "app_id=%ED%A0%80",
                  "&".join(f"a{n}=1" for n in range(700))):  # fmt: skip
        answer = server.admin.get(f"/api/v1/audit?{query}")
        assert answer.status_code == 400, query[:40]
        assert is_envelope(answer)


def stalled_login(server: Server, address: str = "") -> socket.socket:
    """A login of whose body one byte comes, from behind a proxy that names the address."""
    place = urlsplit(server.url)
    connection = socket.create_connection((place.hostname or "", place.port or 0))
    proxied = [f"X-Forwarded-For: {address}"] if address else []
    declared = ["Host: localhost", "Content-Length: 60000", *proxied]
    connection.sendall(head(f"POST {LOGIN} HTTP/1.1", *declared) + b"{")
    return connection


def test_too_many_requests_at_once_are_503_in_the_envelope(make_server: MakeServer):
    server = make_server({"server": {"max_requests": 1}})
    mode = "/api/v1/auth/mode"
    with stalled_login(server):
        eventually(lambda: server.http.get(mode).status_code == 503)
        answer = server.http.get(mode)
        assert answer.json() == {"error": "too many requests at once"}
        assert "retry-after" in answer.headers
        assert is_envelope(answer)
    eventually(lambda: server.http.get(mode).status_code == 200)


def test_a_server_that_is_full_is_not_taken_for_a_dead_one(make_server: MakeServer):
    server = make_server({"server": {"max_requests": 1}})
    with stalled_login(server):
        eventually(lambda: server.http.get("/nothing").status_code == 503)
        assert server.http.get("/health").json() == {"status": "ok"}
        assert server.http.get("/health/ready").status_code == 200
        assert server.http.get("/health/").status_code == 503


def test_one_address_leaves_others_places(make_server: MakeServer):
    server = make_server({"server": {"max_requests": 8, "trusted_proxies": ["127.0.0.0/8"]}})

    def status(address: str) -> int:
        return server.http.get("/nothing", headers={"x-forwarded-for": address}).status_code

    with ExitStack() as stack:
        first = [stack.enter_context(stalled_login(server, f"2001:db8::{n}")) for n in range(1, 20)]
        eventually(lambda: len(select.select(first, [], [], 0)[0]) == len(first) - 4)
        for refused in select.select(first, [], [], 0)[0]:
            assert b"too many requests at once from this address" in refused.recv(4096)
        assert status("2001:db8::ffff") == 503, "an IPv6 customer has a /64"
        assert status("203.0.113.9") == 404
        second = [stack.enter_context(stalled_login(server, "203.0.113.9")) for _ in range(20)]
        eventually(lambda: len(select.select(second, [], [], 0)[0]) == len(second) - 2)
        assert status("203.0.113.9") == 503
        assert status("198.51.100.1") == 404
        assert server.http.get("/nothing").status_code == 404, "the proxy itself"


def test_local_processes_leave_places_to_the_clients_of_a_proxy(make_server: MakeServer):
    """A worker, which is no trusted proxy, opens all the requests that it can."""
    server = make_server({"server": {"max_requests": 8, "trusted_proxies": ["127.0.0.2/32"]}})
    proxy = httpx.HTTPTransport(local_address="127.0.0.2")
    with ExitStack() as stack:
        clients = stack.enter_context(httpx.Client(base_url=server.url, transport=proxy))
        own = [stack.enter_context(stalled_login(server)) for _ in range(30)]
        eventually(lambda: len(select.select(own, [], [], 0)[0]) == len(own) - 4)
        assert server.http.get("/nothing").status_code == 503
        for n in range(50):
            headers = {"x-forwarded-for": f"203.0.113.{n}"}
            assert clients.get("/nothing", headers=headers).status_code == 404


@pytest.mark.slow
def test_unfinished_logins_of_many_addresses_keep_no_user_out(make_server: MakeServer):
    """They have a pool of their own, which is smaller than the number of places."""
    limits = {"max_requests": 250, "trusted_proxies": ["127.0.0.0/8"]}
    server = make_server({"server": limits})
    admin = server.admin
    with ExitStack() as stack:
        addresses = [f"203.0.{n // 200}.{n % 200 + 1}" for n in range(400)]
        stalled = [stack.enter_context(stalled_login(server, each)) for each in addresses]
        eventually(lambda: len(select.select(stalled, [], [], 0)[0]) > 200)
        assert admin.get("/api/v1/apps").status_code == 200
        refused = select.select(stalled, [], [], 0)[0][0].recv(4096)
        assert b"too many unfinished or large bodies at once" in refused


LATE = """
import asyncio

from caudex import PUBLIC, Forbidden, Plugin, Route, hookimpl, reply


class LatePlugin(Plugin):
    name = "late"

    @hookimpl
    def register_routes(self, services):
        closed = Route("POST", "/closed", self.keep, PUBLIC, dict, admit=self.refuse)
        return [Route("POST", "/late", self.take, needs=PUBLIC), closed]

    async def refuse(self, request):
        raise Forbidden("closed")

    async def take(self, request):
        await asyncio.sleep(0.6)
        return reply((await request.body()).decode())

    async def keep(self, request, body):
        return reply(body)
"""
FORM = """
from caudex import PUBLIC, Plugin, Route, hookimpl, reply


class FormPlugin(Plugin):
    name = "form"

    @hookimpl
    def register_routes(self, services):
        return [Route("POST", "/form", self.take, needs=PUBLIC)]

    async def take(self, request):
        return reply(dict(await request.form()))
"""


def with_form(make_server: MakeServer, folder: Path) -> Server:
    """A server that gives back what is posted to `/form`."""
    (folder / "form.py").write_text(FORM)
    return make_server({"server": {"plugin_files": [str(folder / "form.py")]}})


def test_a_reply_comes_whole_whatever_its_size(make_server: MakeServer, tmp_path: Path):
    """Its head and body leave in one piece, or in several where they are large."""
    server = with_form(make_server, tmp_path)
    for length in (0, 1, 3_900, *range(4_085, 4_100), 5_000, 900_000):
        answer = server.http.post("/form", data={"a": "x" * length, "b": "c"})
        assert answer.json() == {"a": "x" * length, "b": "c"}


def test_what_starlette_itself_refuses_comes_in_the_envelope(
    make_server: MakeServer, tmp_path: Path
):
    server = with_form(make_server, tmp_path)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    answer = server.http.post("/form", content=b"--y\r\n\r\nno part", headers=broken)
    assert answer.status_code == 400
    assert is_envelope(answer)


# Request ids and headers


def test_every_reply_has_a_request_id_and_safe_headers(server: Server):
    before = time.time() * 1000
    replies = [
        server.http.get("/health"), server.http.get("/nothing"), server.http.post("/health"),
        server.http.get("/api/v1/auth/me"), server.http.options(ROLES), server.http.head("/health"),
        server.http.post(LOGIN, content=b"{", headers=JSON),
    ]  # fmt: skip
    for answer in replies:
        assert re.fullmatch("[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
    assert len({answer.headers["x-request-id"] for answer in replies}) == len(replies)
    moments = [int(answer.headers["x-request-id"][:12], 16) for answer in replies]
    # Ids of one millisecond count up, so that the latest may be a little ahead of the clock.
    assert [before - 1, *moments] == sorted([before - 1, *moments])


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 64])
def test_a_client_may_send_its_own_request_id(server: Server, given: str):
    answer = server.http.get("/health", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "<x>", "a/b", "ä".encode()])
def test_a_request_id_outside_of_the_rule_is_replaced(server: Server, given: str | bytes):
    answer = server.http.get("/health", headers={"x-request-id": given})  # type: ignore[dict-item]
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_the_audit_trail_carries_the_request_id(server: Server):
    body = {"name": "audited"}
    server.admin.post(ROLES, json=body, headers={"x-request-id": "trace-me"})
    rows = server.admin.get("/api/v1/audit?app_id=core&limit=10").json()
    assert "trace-me" in [row["request_id"] for row in rows]


# Origins


def addressed(server: Server, host: str, path: str = "/health") -> httpx.Response:
    return server.http.get(path, headers={"host": host})


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9100", "LocalHost:1", "127.0.0.1", "127.0.0.1:80", "127.8.9.1",
     "[::1]", "[::1]:9100"],
)  # fmt: skip
def test_a_loopback_server_answers_to_the_names_of_its_machine(server: Server, host: str):
    assert addressed(server, host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9100", "localhost.evil.example", "127.0.0.1.evil.example",
     "xlocalhost", "10.0.0.1", "[::2]", "0.0.0.0", "app.example.org"],
)  # fmt: skip
def test_no_other_name_reaches_a_loopback_server(server: Server, host: str):
    """A stranger's page can have its own name resolve to this machine (DNS rebinding)."""
    for path in ("/health", "/api/v1/auth/mode", "/nothing"):
        answer = addressed(server, host, path)
        assert answer.status_code == 400
        name = host.removesuffix(":9100")
        assert f'[server] allowed_hosts = ["{name}"]' in answer.json()["error"]
    wish = {"host": host, "origin": "http://localhost:3000", "access-control-request-method": "GET"}
    assert server.http.options("/api/v1/apps", headers=wish).status_code == 400
    body = {"username": "mallory", "password": "Str0ngPass!x"}
    answer = server.http.post("/api/v1/auth/register", json=body, headers={"host": host})
    assert answer.status_code == 400


def test_a_host_that_is_no_name_is_not_repeated(server: Server):
    for host in ("<script>", "a b", "user@localhost", "x" * 300, "localhost/x"):
        assert addressed(server, host).json() == {"error": "the Host header names no host"}


def test_a_request_without_a_host_comes_from_no_browser(server: Server):
    assert b" 200 OK" in talk(server, b"GET /health HTTP/1.0\r\n\r\n")


def test_configured_names_are_served_beside_those_of_the_machine(make_server: MakeServer):
    server = make_server({"server": {"allowed_hosts": ["App.example.org", "[fe80::1]"]}})
    for host in ("app.example.org", "APP.EXAMPLE.ORG:443", "[FE80::1]:1", "127.0.0.1"):
        assert addressed(server, host).status_code == 200
    assert addressed(server, "other.example.org").status_code == 400
    assert addressed(make_server({"server": {"allowed_hosts": ["*"]}}), "any").status_code == 200


def test_a_server_on_other_addresses_answers_to_every_name_unless_configured(
    make_server: MakeServer,
):
    open_to_all = make_server({"server": {"host": "0.0.0.0"}})
    assert addressed(open_to_all, "whatever.example").status_code == 200
    server = make_server({"server": {"host": "0.0.0.0", "allowed_hosts": ["app.example.org"]}})
    assert addressed(server, "app.example.org").status_code == 200
    assert addressed(server, "whatever.example").status_code == 400


def preflight(server: Server, origin: str, client: httpx.Client | None = None) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return (client or server.http).options(ROLES, headers=headers)


LOCAL = [
    "http://localhost:3000", "http://127.0.0.1:5173", "http://localhost", "tauri://localhost",
    "http://tauri.localhost",
]  # fmt: skip
FOREIGN = [
    "null", "https://evil.example", "http://localhost.evil.example", "https://localhost:3000",
    "http://localhost:3000.evil.example", "http://localhost:3000@evil.example", "file://", "*",
    "http://127.0.0.1.evil.example", "http://LOCALHOST:3000", "http://127.0.0.2:3000",
    "http://localhost:3000/", "http://[::1]:3000", "xhttp://localhost:3000", "tauri://localhost:1",
    "http://localhost:",
]  # fmt: skip


@pytest.mark.parametrize("origin", LOCAL)
def test_local_development_origins_are_allowed_on_a_loopback_bind(server: Server, origin: str):
    answer = preflight(server, origin)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(
        answer.headers["access-control-allow-methods"].split(", ")
    )
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert {
        "authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "prefer",
        "x-request-id", "x-setup-token", "last-event-id", "caudex-position",
    } == set(allowed.split(", "))  # fmt: skip
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origins_get_no_word(server: Server, origin: str):
    for answer in (
        preflight(server, origin),
        server.http.get("/health", headers={"origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_replies_and_errors_are_readable_from_an_allowed_origin(server: Server):
    headers = {"origin": "http://localhost:3000"}
    for path in ("/health", "/nothing", "/api/v1/auth/me"):
        answer = server.http.get(path, headers=headers)
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert answer.headers["vary"] == "Origin"
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert set(exposed) == {
            "X-Request-Id", "Retry-After", "Link", "ETag", "Caudex-Position",
            "Caudex-Event", "Content-Range", "X-Total-Count",
        }  # fmt: skip


def test_a_preflight_is_answered_for_any_route_before_authentication(server: Server):
    assert preflight(server, "http://localhost:3000").status_code == 204


def test_configured_origins_replace_the_local_ones(make_server: MakeServer):
    server = make_server({"server": {"cors_origins": ["https://app.example.com"]}})
    good = preflight(server, "https://app.example.com")
    assert good.headers["access-control-allow-origin"] == "https://app.example.com"
    for origin in ("https://app.example.com.evil.example", "https://app.example.co", "null",
                   "https://app.example.com:443", "http://app.example.com", LOCAL[0]):  # fmt: skip
        assert "access-control-allow-origin" not in preflight(server, origin).headers


@pytest.mark.parametrize("origin", ["null", "*", "", "https://*.example.com"])
def test_null_and_patterns_cannot_be_configured(make_server: MakeServer, origin: str):
    with pytest.raises(BootError, match="cors_origins"):
        make_server({"server": {"cors_origins": [origin]}})


def test_an_empty_list_allows_no_origin(make_server: MakeServer):
    server = make_server({"server": {"cors_origins": []}})
    for origin in ("null", "", LOCAL[0]):
        assert "access-control-allow-origin" not in preflight(server, origin).headers


def test_a_bind_that_is_not_loopback_allows_no_origin(make_server: MakeServer):
    server = make_server({"server": {"host": "0.0.0.0"}})
    assert "access-control-allow-origin" not in preflight(server, LOCAL[0]).headers


# Proxies


def seen_address(server: Server, headers: Any) -> str:
    """The peer's address as the server sees it: the one of a new session."""
    name, password = server.admin.username, server.admin.password
    answer = server.http.post(LOGIN, json={"username": name, "password": password}, headers=headers)
    token = answer.json()["accessToken"]
    sessions = server.http.get(
        "/api/v1/auth/sessions", headers={"authorization": f"Bearer {token}"}
    ).json()
    return next(session["address"] for session in sessions if session["current"])


def test_forwarded_addresses_are_ignored_without_trusted_proxies(server: Server):
    for headers in ({"x-forwarded-for": "203.0.113.9"}, {"x-real-ip": "203.0.113.9"},
                    {"forwarded": "for=203.0.113.9"}):  # fmt: skip
        assert seen_address(server, headers) == "127.0.0.1"


def test_behind_a_trusted_proxy_the_rightmost_untrusted_hop_is_the_peer(make_server: MakeServer):
    server = make_server({"server": {"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8", "::1/128"]}})
    cases: list[tuple[Any, str]] = [
        ({}, "127.0.0.1"),
        ({"x-forwarded-for": "203.0.113.9"}, "203.0.113.9"),
        ({"x-forwarded-for": "198.51.100.1, 203.0.113.9"}, "203.0.113.9"),
        ({"x-forwarded-for": "198.51.100.1, 203.0.113.9, 10.1.2.3, 127.0.0.1"}, "203.0.113.9"),
        ({"x-forwarded-for": "198.51.100.1,, ::ffff:10.1.2.3 ,"}, "198.51.100.1"),
        ({"x-forwarded-for": "2001:db8::7, 10.1.2.3"}, "2001:db8::7"),
        ({"x-forwarded-for": "10.9.9.9, 10.1.2.3"}, "127.0.0.1"),
        ({"x-forwarded-for": "203.0.113.9, evil"}, "127.0.0.1"),
        ({"x-forwarded-for": "'; drop table"}, "127.0.0.1"),
        ([("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.1.2.3")], "203.0.113.9"),
        ([("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
        ({"x-real-ip": "203.0.113.9", "forwarded": "for=203.0.113.9"}, "127.0.0.1"),
    ]
    for headers, expected in cases:
        assert seen_address(server, headers) == expected, headers


# Clients that are slow, endless or no HTTP clients at all


def test_a_slow_head_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.5)
    answer = talk(server, b"GET /health HTTP/1.1\r\n", *[b"X-Slow: 1\r\n"] * 20, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'{"error": "the head of the request came too slowly"}')
    assert re.search(rb"\r\nx-request-id: [0-9a-f]{32}\r\ncache-control: no-store\r\n", answer)


def test_a_connection_that_says_nothing_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.3)
    assert is_closed_by(server)


@pytest.mark.parametrize("pieces", [1, 40])
def test_an_oversized_head_is_refused(server: Server, pieces: int):
    size = 100_000 // pieces
    lines = [f"X-{n}: ".encode() + b"x" * size + b"\r\n" for n in range(pieces)]
    answer = talk(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n", *lines, b"\r\n", wait=2)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'{"error": ' in answer


def test_an_endless_head_is_refused(server: Server):
    answer = talk(server, b"GET /health HTTP/1.1\r\nX-Endless: ", *[b"x" * 10_000] * 30, wait=2)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_slow_body_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.5)
    request = head(
        f"POST {LOGIN} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Content-Length: 60",
        "X-Request-Id: slow-1",
    )
    answer = talk(server, request, *[b" "] * 20, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-request-id: slow-1\r\n" in answer
    assert answer.endswith(b'{"error": "the request body comes too slowly"}')


def test_a_body_that_never_comes_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.3)
    answer = talk(server, head(f"POST {LOGIN} HTTP/1.1", "Host: localhost", "Content-Length: 60"))
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.slow
def test_a_body_that_is_long_and_quick_enough_passes(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.53)  # three times of it ahead
    body = b'{"username": "no_one", "password": "x"' + b" " * 40_000 + b"}"
    request = head(
        f"POST {LOGIN} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Length: {len(body)}",
    )
    # What came at first outlasts a pause of this process, but not the 1.8 s that the rest takes.
    pieces = [body[at : at + 1400] for at in range(15_000, len(body), 1400)]
    answer = talk(server, request + body[:15_000], *pieces, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("length", ["Content-Length: 40000000", "Transfer-Encoding: chunked"])
def test_a_body_that_began_quickly_and_then_stalls_is_cut_off(
    server: Server, monkeypatch: pytest.MonkeyPatch, length: str
):
    """What came early does not count for long: 5 MB would, for 500 s."""
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.2)
    token = f"Authorization: {server.admin.headers['authorization']}"
    began = head(f"POST {ROLES} HTTP/1.1", "Host: localhost", token, length)
    framed = b"%x\r\n" % 5_000_000 if "chunked" in length else b""
    answer = talk(server, began + framed + b" " * 5_000_000, wait=10)
    assert answer.endswith(b'{"error": "the request body comes too slowly"}')


def test_who_waits_to_be_asked_for_a_body_is_not_slow(
    make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.2)
    (tmp_path / "late.py").write_text(LATE)
    server = make_server({"server": {"plugin_files": [str(tmp_path / "late.py")]}})
    request = head(
        "POST /late HTTP/1.1", "Host: localhost", "Content-Length: 2", "Expect: 100-continue"
    )
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.settimeout(10)
        connection.sendall(request)
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_bytes",
    [b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"GET /health HTTP/1.1\r\nBad Header: x\r\n\r\n",
     b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
     b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\n\r\n",
     b"GET /health HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n",
     b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n",
     b"CONNECT x:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n",
     b"POST /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
     b"POST /health HTTP/1.1\r\nContent-Length: +5\r\n\r\nabcde",
     b"POST /health HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
     b"POST /health HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"GET /health HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n"],
    ids=lambda raw: repr(raw)[:60],
)  # fmt: skip
def test_what_is_no_http_is_refused_in_json(server: Server, request_bytes: bytes):
    answer = talk(server, request_bytes, wait=2)
    status, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (400|404|405) ", status), answer
    assert set(json.loads(body)) == {"error"}
    assert server.http.get("/health").status_code == 200


def test_pipelined_requests_are_answered_in_order(server: Server):
    one = head("GET /health HTTP/1.1", "Host: localhost")
    last = head("GET /nothing HTTP/1.1", "Host: localhost", "Connection: close")
    answer = talk(server, one * 50 + last, wait=5)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 50 + [b"404"]


@pytest.mark.parametrize("name", ["Upgrade", "upgrade", "UPGRADE"])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_read(server: Server, name: str):
    """Java's client asks for h2c with every request."""
    body = b'{"username": "no_one", "password": "Upgrade: x"}'
    wish = ["Connection: Upgrade, HTTP2-Settings", f"{name}: h2c", "HTTP2-Settings: AAMAAABk"]
    request = head(
        f"POST {LOGIN} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *wish
    )
    again = head("GET /health HTTP/1.1", "Host: localhost", "Connection: close")
    answer = talk(server, request + body + again, wait=5)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401", b"200"]


@pytest.mark.slow
def test_a_web_socket_is_not_opened(server: Server):
    wish = head(
        "GET /health HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    )  # fmt: skip
    assert talk(server, wish, wait=1).startswith(b"HTTP/1.1 200 ")


def test_clients_that_leave_in_the_middle_do_no_harm(server: Server):
    address = urlsplit(server.url)
    for request in (
        b"GET /hea",
        head(f"POST {LOGIN} HTTP/1.1", "Host: localhost", "Content-Length: 60"),
    ):
        for _ in range(20):
            with socket.create_connection((address.hostname or "", address.port or 0)) as socket_:
                socket_.sendall(request)
    assert server.http.get("/health").status_code == 200


def test_a_reply_that_breaks_in_the_middle_does_not_look_whole(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    async def breaking(*_: object) -> Any:
        async def chunks():
            yield b'[{"id": 1},'
            raise RuntimeError("the database went away")

        return web.stream_reply(chunks())

    monkeypatch.setattr(routing.RouteTable, "_serve", breaking)
    with pytest.raises(httpx.RemoteProtocolError):
        server.http.get("/health")
