"""Requests are sent again where that is safe, and only there."""

from __future__ import annotations

import http.server
import io
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Any
from unittest import mock

import anyio
import pytest

from plugins.authoring.errors import OutcomeUnknown, ServerAway, ServerRefused
from plugins.authoring.output import Output
from plugins.authoring.server.address import clean_url, is_exposed
from plugins.authoring.server.connection import ATTEMPTS, ServerConnection
from plugins.authoring.server.credentials import FixedToken

BUSY = (503, {"retry-after": "0"}, {"error": "busy"})
GOOD = (200, {}, {"good": True})
BROKEN = None
"""Instead of a reply: the connection is closed."""


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives the replies of the server's list, one by one."""

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("content-length", 0)))
        reply = self.server.replies.pop(0)  # type: ignore[attr-defined]
        if reply is None:
            self.close_connection = True
            return
        status, headers, body = reply
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers() -> Generator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.seen = []  # type: ignore[attr-defined]
    server.replies = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(answers: Any, work: Callable[[ServerConnection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        url = f"http://127.0.0.1:{answers.server_address[1]}"
        async with ServerConnection(url, FixedToken("t")) as server:
            return await work(server)

    return anyio.run(run)


def read(server: ServerConnection) -> Awaitable[Any]:
    return server.get("/x")


def write(server: ServerConnection) -> Awaitable[Any]:
    return server.post("/x", {})


@pytest.mark.parametrize("work", [read, write])
def test_a_busy_server_is_asked_again(answers: Any, work: Any) -> None:
    answers.replies += [BUSY, BUSY, GOOD]
    assert ask(answers, work) == {"good": True}
    assert len(answers.seen) == 3


def test_it_gives_up_in_the_end(answers: Any) -> None:
    answers.replies += [BUSY] * (ATTEMPTS + 1)
    with pytest.raises(ServerRefused, match="busy"):
        ask(answers, read)
    assert len(answers.seen) == ATTEMPTS


@pytest.mark.parametrize(
    "reply", [(503, {}, {"error": "busy"}), (429, {"retry-after": "600"}, {"error": "busy"}),
              (400, {"retry-after": "0"}, {"error": "busy"})],
)  # fmt: skip
def test_what_may_have_an_effect_or_takes_long_is_not_asked_again(answers: Any, reply: Any) -> None:
    answers.replies += [reply, GOOD]
    with pytest.raises(ServerRefused, match="busy"):
        ask(answers, write)
    assert len(answers.seen) == 1


def test_a_read_is_repeated_when_the_connection_breaks_and_a_write_is_not(answers: Any) -> None:
    answers.replies += [BROKEN, GOOD]
    assert ask(answers, read) == {"good": True}
    answers.replies += [BROKEN, GOOD]
    with pytest.raises(OutcomeUnknown, match="may have had its effect"):
        ask(answers, write)
    assert [method for method, _ in answers.seen] == ["GET", "GET", "POST"]


def test_a_body_in_pieces_is_sent_again_from_its_beginning(answers: Any) -> None:
    from plugins.authoring.project.archive import pieces_of

    answers.replies += [BUSY, GOOD]
    moved: list[int] = []
    content = b"x" * 200_000

    async def upload(server: ServerConnection) -> Any:
        headers = {"content-length": str(len(content))}
        return await server.upload("/x", pieces_of(content, moved.append), headers)

    assert ask(answers, upload) == {"good": True}
    assert sum(moved) == 2 * len(content)


def test_another_program_is_no_caudex_server(answers: Any) -> None:
    async def bare(server: ServerConnection) -> Any:
        return await server.get("/x")

    answers.replies += [(200, {}, "x")]
    assert ask(answers, bare) == "x"
    answers.replies += [(500, {}, ["x"])]
    with pytest.raises(ServerRefused, match="the server answers 500"):
        ask(answers, bare)


def test_a_server_that_is_away_is_said_at_once() -> None:
    async def run() -> None:
        async with ServerConnection("http://127.0.0.1:1", FixedToken("")) as server:
            await server.get("/x")

    with pytest.raises(ServerAway, match=r"no server answers at http://127\.0\.0\.1:1"):
        anyio.run(run)


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("as_json", [False, True])
def test_a_terminal_gets_a_progress_bar_and_a_pipe_none(as_json: bool) -> None:
    terminal = Terminal()
    shown = mock.patch.object(sys, "stderr", terminal)
    with shown, Output(as_json).progress("worker", 10) as advance:
        advance(10)
    assert "worker" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    pipe = io.StringIO()
    with mock.patch.object(sys, "stderr", pipe), Output(as_json).progress("x", 10) as advance:
        advance(10)
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("http://Example.com:80/", "http://example.com"),
        ("https://x:443/caudex/", "https://x/caudex"),
        (" http://127.0.0.1:9100 ", "http://127.0.0.1:9100"),
        ("http://[::1]:9100", "http://[::1]:9100"),
    ],
)
def test_an_address_has_one_form(url: str, clean: str) -> None:
    assert clean_url(url) == clean


@pytest.mark.parametrize(
    ("url", "exposed"),
    [("http://127.0.0.1:9100", False), ("http://crm.localhost", False), ("https://x", False),
     ("http://[::1]", False), ("http://10.0.0.1", True), ("http://example.com", True)],
)  # fmt: skip
def test_a_password_that_others_could_read_is_warned_of(url: str, exposed: bool) -> None:
    assert is_exposed(url) is exposed
