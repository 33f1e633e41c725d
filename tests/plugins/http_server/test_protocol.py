"""How replies leave, in one piece or in several, and when connections are closed."""

import re
import socket
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import httpx
import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from kernel.testing import MakeServer, Postgres, Server, running_server
from plugins.http_server import protocol, slow_clients
from tests.waiting import eventually

ODD = """
import asyncio

from caudex import PUBLIC, Plugin, Response, Route, hookimpl, stream_reply


class OddPlugin(Plugin):
    name = "odd"

    @hookimpl
    def register_routes(self, services):
        return [
            Route("GET", "/odd/{kind}", self.answer, needs=PUBLIC),
            Route("POST", "/odd", self.size, body=dict, needs=PUBLIC),
            Route("GET", "/slow", self.slow, needs=PUBLIC),
            Route("GET", "/endless", self.endless, needs=PUBLIC),
            Route("GET", "/until-gone", self.until_gone, needs=PUBLIC),
            Route("POST", "/heard", self.heard, body=dict, needs=PUBLIC),
            Route("POST", "/twice", self.twice, body=dict, needs=PUBLIC),
        ]

    async def answer(self, request):
        more = {
            "plain": {},
            "forged": {"etag": "a\\r\\nset-cookie: evil=1"},
            "bare-feed": {"etag": "a\\nset-cookie: evil=1"},
            "control": {"etag": "a\\x00b"},
            "name": {"x y": "1"},
            "short": {"content-length": "3"},
            "long": {"content-length": "300"},
            "closing": {"connection": "close"},
            "own": {"x-own": "1"},
            "large": {},
        }[request.path("kind")]
        if request.path("kind") == "large":
            return Response(b"x" * 16_000_000)
        return Response(b'"odd"', headers=more, media_type="application/json")

    async def slow(self, request):
        async def pieces():
            for _ in range(10):
                yield b"piece"
                await asyncio.sleep(0.1)
        return stream_reply(pieces())

    async def endless(self, request):
        async def pieces():
            yield b"piece"
            await asyncio.sleep(60)
            yield b"piece"
        return stream_reply(pieces())

    gone = False

    async def until_gone(self, request):
        while (await request.receive())["type"] != "http.disconnect":
            pass
        OddPlugin.gone = True
        return Response()

    async def twice(self, request, body):
        return Response(await request.body())

    async def heard(self, request, body):
        names = [name.decode() for name, _ in request.scope["headers"]]
        return Response(" ".join(names).encode(), media_type="text/plain")

    async def size(self, request, body):
        return Response(b"%d" % len(body["text"]), media_type="application/json")
"""
ASK = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.py"
    path.write_text(ODD)
    return path


@pytest.fixture(scope="module")
def odd(postgres: Postgres, folder: Path) -> Generator[Server]:
    with running_server(postgres, {"server": {"plugin_files": [str(folder)]}}) as running:
        yield running


@contextmanager
def connected(server: Server) -> Generator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.settimeout(10)
        yield connection


def target_of(target: str) -> dict[str, Any]:
    """The scope that the protocol makes of a request line."""
    config = Config(app=lambda *_: None, http=protocol.GuardedProtocol)
    connection = protocol.GuardedProtocol(config, ServerState(), {}, Mock())
    connection.scope = {}
    path, query = protocol._split_target(target.encode())
    connection._complete_scope("1.1", "GET", path, query)
    return connection.scope


def received(connection: socket.socket, until: bytes = b"") -> bytes:
    """What arrives until it ends so, or the server closes."""
    reported = b""
    while not (until and reported.endswith(until)) and (piece := connection.recv(65536)):
        reported += piece
    return reported


@pytest.mark.parametrize("kind", ["forged", "bare-feed", "control", "name"])
def test_no_value_of_a_header_can_begin_another_one(odd: Server, kind: str) -> None:
    with connected(odd) as connection:
        connection.sendall(ASK.format(f"/odd/{kind}").encode())
        reported = received(connection, b"}")
    assert b"set-cookie" not in reported.lower()
    assert b'"odd"' not in reported
    assert re.match(rb"HTTP/1.1 500 |$", reported)


@pytest.mark.parametrize("kind", ["short", "long"])
def test_a_reply_of_another_length_than_it_says_does_not_look_whole(odd: Server, kind: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        odd.http.get(f"/odd/{kind}")


def test_a_reply_is_the_same_in_one_piece_and_in_several(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reported(method: str, path: str) -> tuple[int, bytes, list[str]]:
        answer = odd.http.request(method, path)
        return answer.status_code, answer.content, sorted(answer.headers)

    asked = [("GET", "/odd/plain"), ("HEAD", "/odd/plain"), ("GET", "/health"), ("GET", "/none")]
    whole = [reported(*each) for each in asked]
    assert whole[0][:2] == (200, b'"odd"')
    assert whole[1][:2] == (200, b"")
    monkeypatch.setattr(protocol.Cycle, "send_whole", lambda *_: False)
    assert [reported(*each) for each in asked] == whole


def test_what_is_of_the_common_kind_leaves_in_one_piece(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = RequestResponseCycle.send

    async def counted(self: RequestResponseCycle, message: dict) -> None:
        sent.append(message["type"])
        await send(self, message)

    monkeypatch.setattr(protocol.Cycle, "__call__", counted)
    assert odd.http.get("/odd/plain").status_code == 200
    assert odd.http.get("/none").status_code == 404
    assert sent == []
    assert odd.http.get("/odd/own").headers["x-own"] == "1"
    assert sent == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("before", ["", "http://localhost", "HTTP://other.example:80"])
@pytest.mark.parametrize("query", ["", "?", "?a=1", "?a=%23?b"])
@pytest.mark.parametrize("after", ["", "#part", "#?c=2"])
def test_the_target_of_a_request_can_be_a_whole_address(
    before: str, query: str, after: str
) -> None:
    scope = target_of(f"{before}/odd/a%20b{query}{after}")
    assert (scope["path"], scope["raw_path"]) == ("/odd/a b", b"/odd/a%20b")
    assert scope["query_string"] == query[1:].encode()


def test_a_reply_that_closes_its_connection_does(odd: Server) -> None:
    with connected(odd) as connection:
        connection.sendall(ASK.format("/odd/closing").encode())
        assert received(connection).endswith(b'"odd"')


@pytest.mark.slow
def test_an_idle_connection_is_closed_and_one_that_is_used_is_not(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ASK.format("/odd/plain").encode()
    with connected(odd) as used, connected(odd) as idle:
        for connection in (used, idle):
            connection.sendall(ask)
            received(connection, b'"odd"')
        began = time.monotonic()
        while time.monotonic() - began < 6.5:
            time.sleep(0.5)
            used.sendall(ask)
            assert received(used, b'"odd"').startswith(b"HTTP/1.1 200 ")
        assert received(idle) == b""
        used.sendall(b"GET /odd/pl")  # the begun head ends the idle time
        time.sleep(5.5)
        used.sendall(ask[len(b"GET /odd/pl") :])
        assert received(used, b'"odd"').startswith(b"HTTP/1.1 200 ")


def test_what_a_body_weighs_is_not_held_against_the_next_head(odd: Server) -> None:
    body = b'{"text": "%b"}' % (b"x" * 300_000)
    head = b"POST /odd HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    ask = ASK.format("/odd/plain").encode()
    with connected(odd) as connection:
        for _ in range(3):
            connection.sendall(head)
            time.sleep(0.05)
            connection.sendall(body + ask[:20])
            time.sleep(0.05)
            connection.sendall(ask[20:])
            reported = received(connection, b'"odd"')
            assert re.findall(rb"HTTP/1.1 (\d+)", reported) == [b"200", b"200"]


CHUNKED = "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_what_follows_a_body_is_no_header(odd: Server) -> None:
    """A proxy may pass it on behind its own X-Forwarded-For, which would lose against it."""
    trailers = b"X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: forged\r\n"
    with connected(odd) as connection:
        for _ in range(2):
            head = CHUNKED.format("/heard").encode()
            connection.sendall(head + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n")
            reported = received(connection, b"host transfer-encoding")
            assert reported.startswith(b"HTTP/1.1 200 ")
            assert b"forged" not in reported


@pytest.mark.parametrize(
    "begun", [b"2\r\n{}\r\n0\r\nx: ", b"2\r\n{}\r\n0\r\n", b"2;x="], ids=["one", "many", "chunk"]
)
def test_no_one_sends_without_end_around_a_body(odd: Server, begun: bytes) -> None:
    piece = b"x: y\r\n" * 10_000 if begun.endswith(b"\n") else b"y" * 70_000
    with connected(odd) as connection:
        connection.sendall(CHUNKED.format("/odd").encode() + begun)
        time.sleep(0.1)
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(300):
                connection.sendall(piece)


def test_a_body_in_many_small_chunks_passes(odd: Server) -> None:
    pieces = [b"%x;why=not\r\n%b\r\n" % (len(part), part) for part in [b"x"] * 20_000]
    body = b'9\r\n{"text":"\r\n' + b"".join(pieces) + b'2\r\n"}\r\n0\r\nx: y\r\n\r\n'
    with connected(odd) as connection:
        connection.sendall(CHUNKED.format("/odd").encode())
        for at in range(0, len(body), 50_000):
            connection.sendall(body[at : at + 50_000])
        assert received(connection, b"20000").startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_who_still_sends_a_body_that_was_refused_is_not_idle(odd: Server) -> None:
    with connected(odd) as connection:
        head = "POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 700000\r\n\r\n"
        connection.sendall(head.encode())
        assert received(connection, b"}").startswith(b"HTTP/1.1 404 ")
        for _ in range(7):
            time.sleep(1)
            connection.sendall(b"x" * 100_000)
        connection.sendall(ASK.format("/odd/plain").encode())
        assert received(connection, b'"odd"').startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_read_twice_is_a_fault_and_no_wait(odd: Server) -> None:
    assert odd.http.post("/twice", json={}, timeout=5).status_code == 500
    assert odd.http.post("/twice", json={"text": "x" * 100_000}, timeout=5).status_code == 500


@pytest.mark.parametrize("late", [b"\0\r\n\r\n", CHUNKED.format("/odd").encode() + b"zz\r\n"])
def test_no_refusal_is_sent_within_another_reply(odd: Server, late: bytes) -> None:
    with connected(odd) as connection:
        connection.sendall(ASK.format("/slow").encode())
        reported = received(connection, b"piece\r\n")
        connection.sendall(late)
        reported += received(connection)
    assert reported.count(b"HTTP/1.1 ") == 1
    assert not reported.endswith(b"0\r\n\r\n")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests waited whenever another one came."""
    counts: list[int] = []
    on_headers_complete = protocol.GuardedProtocol.on_headers_complete

    def counted(self: protocol.GuardedProtocol) -> None:
        on_headers_complete(self)
        counts.append(len(self.pipeline))

    monkeypatch.setattr(protocol.GuardedProtocol, "on_headers_complete", counted)
    return counts


def test_requests_that_are_sent_ahead_are_read_as_they_are_answered(
    odd: Server, waiting: list[int]
) -> None:
    body = b'{"text": "ab"}'
    head = "POST /odd HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\nContent-Length: {}\r\n\r\n"
    ask = head.format("y" * 1000, len(body)).encode() + body
    with connected(odd) as connection:
        sender = threading.Thread(target=connection.sendall, args=(ask * 2000,), daemon=True)
        sender.start()
        reported = b""
        while reported.count(b"HTTP/1.1 200 ") < 2000 and (piece := connection.recv(65536)):
            reported += piece
        sender.join(5)
    assert reported.count(b"HTTP/1.1 200 ") == len(waiting) == 2000
    assert max(waiting) < 500


def test_a_flood_of_small_requests_is_cut_off(odd: Server, waiting: list[int]) -> None:
    with connected(odd) as connection, pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        for _ in range(50):
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    assert max(waiting) <= 20 * slow_clients.FEW_WAITING


def test_a_head_of_what_is_sent_in_pieces_waits_for_none_of_them(odd: Server) -> None:
    answer = odd.http.head("/endless", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")
    assert odd.http.get("/odd/plain").status_code == 200


@pytest.mark.slow
def test_a_head_that_waits_to_be_read_is_not_slow(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "GRACE_SECONDS", 0.3)
    ask, plain = (ASK.format(path).encode() for path in ("/slow", "/odd/plain"))
    with connected(odd) as connection:
        connection.sendall(ask + plain * 150 + plain[:10])
        time.sleep(0.5)
        connection.sendall(plain[10:])
        reported = b""
        while reported.count(b'"odd"') < 151 and (piece := connection.recv(65536)):
            reported += piece
    assert reported.count(b"HTTP/1.1 200 ") == 152


@pytest.mark.parametrize("ahead", [b"", ASK.format("/odd/plain").encode()], ids=["alone", "two"])
def test_a_request_learns_that_its_client_is_gone_whatever_waits(odd: Server, ahead: bytes) -> None:
    plugin: Any = next(one for one in odd.kernel.instances if one.name == "odd")
    type(plugin).gone = False
    with connected(odd) as connection:
        connection.sendall(ASK.format("/until-gone").encode() + ahead)
        time.sleep(0.2)
        assert not plugin.gone
    assert eventually(lambda: plugin.gone)


@pytest.mark.slow
def test_who_takes_nothing_of_a_reply_is_cut_off(
    make_server: MakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "TAKEN_SECONDS", 3.0)
    server = make_server({"server": {"plugin_files": [str(folder)], "max_requests": 1}})
    with connected(server) as still:
        still.sendall(ASK.format("/odd/large").encode() * 2)  # the second reply waits for the first
        still.recv(1, socket.MSG_PEEK)  # the first has begun, and nothing of it is taken
        assert server.http.get("/odd/plain").status_code == 503
        ends = time.monotonic() + 20
        while (status := server.http.get("/odd/plain").status_code) == 503:
            assert time.monotonic() < ends
            time.sleep(0.1)
        assert status == 200
        assert len(received(still)) < 16_000_000


@pytest.mark.slow
def test_who_takes_next_to_nothing_of_a_reply_is_cut_off(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "TAKEN_SECONDS", 0.5)
    monkeypatch.setattr(slow_clients, "BODY_FLOOR", 40_000_000)
    with connected(odd) as slow:
        slow.sendall(ASK.format("/odd/large").encode())
        size, ends = 0, time.monotonic() + 10
        with suppress(ConnectionResetError):
            while time.monotonic() < ends and (piece := slow.recv(50_000)):
                size += len(piece)
                time.sleep(0.05)
    assert time.monotonic() < ends
    assert size < 16_000_000


@pytest.mark.slow
def test_replies_that_are_not_taken_have_a_bound_together(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that has waited longest is closed."""
    monkeypatch.setattr(slow_clients, "MAX_UNTAKEN", 40_000_000)
    with ExitStack() as open_ones:
        readers = [open_ones.enter_context(connected(odd)) for _ in range(5)]
        for reader in readers:
            reader.sendall(ASK.format("/odd/large").encode())
            time.sleep(0.2)
        whole = [_size(reader) > 16_000_000 for reader in readers]
    assert whole[:2] == [False, False]
    assert whole[-1]
    assert slow_clients.UNTAKEN._total <= 40_000_000


def _size(connection: socket.socket) -> int:
    """How much arrives of a large reply."""
    size = 0
    with suppress(ConnectionResetError):
        while size < 16_000_000 and (piece := connection.recv(1_000_000)):
            size += len(piece)
    return size


@pytest.mark.slow
def test_who_takes_a_reply_slowly_gets_all_of_it(
    odd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "TAKEN_SECONDS", 2.0)
    with connected(odd) as slow:
        slow.sendall(ASK.format("/odd/large").encode())
        size = 0
        while size < 16_000_000 and (piece := slow.recv(1_000_000)):
            size += len(piece)
            time.sleep(0.35)
    assert size > 16_000_000
