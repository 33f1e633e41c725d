"""The witness gets every seal, whatever happens to it meanwhile."""

from __future__ import annotations

import http.server
import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.public import POOL
from kernel.testing import Server
from plugins.audit.evidence import witness as module
from plugins.audit.evidence.witness import Witness
from tests.plugins.audit.conftest import Alone
from tests.plugins.audit.evidence.support import prepare, seal, seals, verify, write
from tests.waiting import eventually


@pytest.fixture
def server(make_alone: Alone) -> Server:
    return prepare(make_alone())


def add_seals(server: Server, count: int) -> None:
    for _ in range(count):
        write(server)
        seal(server)


def make(server: Server, target: str) -> Witness:
    return Witness(server.services.get(POOL), target)


def hashes(lines: list[str]) -> list[str]:
    return [json.loads(line)["sha256"] for line in lines]


def chain(server: Server) -> list[str]:
    rows = server.sql(
        "select encode(sha256(convert_to(statement, 'UTF8')), 'hex') from caudex_audit.seals"
        " order by number"
    )
    return [found for (found,) in rows]


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def listening(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that keeps the lines of what it gets; `answer` replies."""
    lines: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            lines.extend(body.splitlines())
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/seals", lines
        finally:
            listener.shutdown()
            thread.join()


def accept(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(204)
    handler.end_headers()


def refuse(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_error(500)


def redirect(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("location", "http://127.0.0.1:1/")
    handler.end_headers()


def test_a_url_gets_every_seal_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    add_seals(server, 5)
    with listening(accept) as (url, lines):
        witness = make(server, url)
        server.run(witness.run)
        assert hashes(lines) == chain(server)
        server.run(witness.run)
        add_seals(server, 1)
        server.run(witness.run)
        assert hashes(lines) == chain(server)
    assert not witness.is_failing


def test_a_command_gets_every_seal(server: Server, tmp_path: Path) -> None:
    add_seals(server, 3)
    file = tmp_path / "seals.ndjson"
    code = f"import sys; open({str(file)!r}, 'ab').write(sys.stdin.buffer.read())"
    witness = make(server, f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}")
    server.run(witness.run)
    assert hashes(file.read_text().splitlines()) == chain(server)


@pytest.mark.parametrize("answer", [refuse, redirect])
def test_what_is_refused_is_sent_again(server: Server, answer: Answer) -> None:
    add_seals(server, 2)
    with listening(answer) as (url, _):
        witness = make(server, url)
        first = server.run(witness.run)
        assert witness.is_failing
        assert server.run(witness.run) > first
    add_seals(server, 1)
    with listening(accept) as (url, lines):
        witness._target = url
        server.run(witness.run)
        assert hashes(lines) == chain(server)
    assert not witness.is_failing


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/",
        "http://[",
        "/no/such/program",
        "false",
        "sleep 60",
        "'",
        "https://x y/",
    ],
)
def test_a_witness_that_is_away_or_hangs_stops_no_sealing(
    server: Server, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    add_seals(server, 1)
    witness = make(server, target)
    server.run(witness.run)
    assert witness.is_failing
    add_seals(server, 1)
    assert verify(server).pending == 0


def test_a_server_informs_its_witness_by_itself(make_alone: Alone) -> None:
    with listening(accept) as (url, lines):
        server = prepare(make_alone(witness=url))
        add_seals(server, 1)
        audit = next(plugin for plugin in server.kernel.instances if plugin.name == "audit")
        server.run(audit._witness.run)
        assert hashes(lines) == chain(server)
        names = [info.name for info in audit.tasks.info()]
        assert "inform the witness" in names
        assert len(seals(server)) == len(lines)


def test_health_reports_a_witness_that_fails(make_alone: Alone) -> None:
    server = make_alone(witness="false")
    install_and_seal(server)
    audit = next(plugin for plugin in server.kernel.instances if plugin.name == "audit")
    server.run(audit._witness.run)
    eventually(lambda: server.run(audit.health).problems)
    assert "witness" in server.run(audit.health).problems[0]


def install_and_seal(server: Server) -> None:
    prepare(server)
    add_seals(server, 1)
