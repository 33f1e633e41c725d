"""Requests whose heads were read before are those that the parser would find."""

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from plugins.http_server import heads, protocol
from plugins.http_server.heads import MAX_BYTES, MAX_HEADS, KnownHeads

TARGETS = (
    "/", "/a/b", "/a/b?x=1&y=%20", "//a", "/%2e%2e/a", "/a b", "/ü", "/a#b", "*",
    "http://h/a", "/a\t",
)  # fmt: skip
HEADERS = (
    ("Host", "localhost"), ("host", "other"), ("Authorization", "Bearer a.b.c"),
    ("X-Empty", ""), ("X-Spaces", "  a  b "), ("Connection", "keep-alive"),
    ("Connection", "close"), ("Connection", "Upgrade"), ("Upgrade", "h2c"),
    ("Expect", "100-continue"), ("Transfer-Encoding", "chunked"), ("X-Bad\x01", "1"),
    ("X-Value", "a\x00b"), ("X-Latin", "\xe4"),
)  # fmt: skip
LENGTHS = ("", "0", "3", "03", "+3", "5", "3, 3", "99")
REQUEST_ID = re.compile(rb"(?<=x-request-id: )[0-9a-f]{32}")
BODIES = (b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"abcde")


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else None

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self.written += b"".join(pieces)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def run(pieces: Sequence[bytes]) -> tuple[list[object], bytes, bool]:
    """Return the requests that an application gets from a connection, and what it sends."""
    requests = list[object]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message["body"]
        names = ("method", "path", "raw_path", "query_string", "headers", "http_version")
        requests.append(({name: scope[name] for name in names}, body))
        length = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"ok"})

    async def feed() -> tuple[list[object], bytes, bool]:
        config = Config(app, access_log=False, log_config=None, ws="none")
        config.load()
        connection = protocol.GuardedProtocol(config, ServerState(), {})
        wire = Wire()
        connection.connection_made(wire)
        for piece in pieces:
            if wire.closed:
                break
            connection.data_received(piece)
            for _ in range(10):  # steps of the event loop, as many as a request takes
                await asyncio.sleep(0)
        closed = wire.closed
        connection.connection_lost(None)
        for _ in range(10):
            await asyncio.sleep(0)
        return requests, REQUEST_ID.sub(b"", wire.written), closed

    return asyncio.run(feed())


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Pieces of a connection that say the same again, and a little different."""
    variants = draw(st.lists(request(), min_size=1, max_size=3))
    sent = draw(st.lists(st.sampled_from(variants), min_size=2, max_size=6))
    if draw(st.booleans()):
        return sent
    stream = b"".join(sent)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    edges = [0, *cuts, len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges) if begin < end]


@st.composite
def request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(("GET", "POST", "HEAD", "OPTIONS", "get", "BREW")))
    target = draw(st.sampled_from(TARGETS) | st.just("/a/b"))
    version = draw(st.sampled_from(("HTTP/1.1",) * 5 + ("HTTP/1.0", "HTTP/2.0")))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    length = draw(st.sampled_from(LENGTHS))
    body = draw(st.sampled_from(BODIES))
    if length:
        headers = [*headers, ("Content-Length", length)]
    separator = draw(st.sampled_from((": ",) * 4 + (":", " :")))
    lines = [f"{method} {target} {version}", *(name + separator + value for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@settings(max_examples=300, deadline=None)
@given(pieces())
def test_a_connection_gets_the_same_with_and_without_known_heads(sent: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "KNOWN_HEADS", Nothing())
        expected = run(sent)
        patch.setattr(protocol, "KNOWN_HEADS", KnownHeads())
        assert run(sent) == expected
        assert run(sent) == expected  # now with what the first connection has left


class Nothing(KnownHeads):
    """Remembers no head."""

    def remember(self, data: bytes, headers: heads.Headers) -> None: ...


def ask(name: str, value: str = "1", target: str = "/", body: bytes = b"") -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    head = f"GET {target} HTTP/1.1\r\nhost: localhost\r\n{length}{name}: {value}\r\n\r\n"
    return head.encode() + body


def test_a_head_is_known_for_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownHeads()
    monkeypatch.setattr(protocol, "KNOWN_HEADS", known)
    run([ask("x-a", target="/a"), ask("x-a", target="/b", body=b"12")])
    assert len(known) == 2
    found = known.read(ask("x-a", target="/c", body=b"34"))
    assert found is not None
    assert (found.path, found.query, found.body) == (b"/c", b"", b"34")
    assert known.read(ask("X-a", target="/c")) is None
    assert known.read(ask("x-a", "2", target="/c")) is None
    assert known.read(ask("x-a", target="/c") + b"GET") is None


def test_two_requests_in_one_piece_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownHeads()
    monkeypatch.setattr(protocol, "KNOWN_HEADS", known)
    run([ask("x-a") + ask("x-b")])
    assert len(known) == 0


def test_a_flood_of_heads_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownHeads()
    monkeypatch.setattr(protocol, "KNOWN_HEADS", known)
    run([ask("x-a", str(number)) for number in range(MAX_HEADS + 50)])
    assert len(known) == MAX_HEADS
    run([ask("x-a", "x" * MAX_BYTES)])
    assert len(known) == MAX_HEADS
    assert known.read(ask("x-a", "x" * MAX_BYTES)) is None
