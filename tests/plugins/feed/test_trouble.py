"""Clients that are slow, positions of elsewhere, conditions that an install broke."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from kernel.public import EventStream
from kernel.testing import MakeServer, Server
from kernel.web import event_streams
from plugins.feed.events import write_end
from tests.waiting import eventually

from .conftest import prepare
from .support import APP, DEALS, Stream, create, follow


def open_streams(server: Server) -> int:
    """How many streams are open in the process."""
    plugin: Any = next(item for item in server.kernel.instances if item.name == "feed")
    return plugin._streams._open._active


def test_a_client_that_does_not_read_loses_its_stream(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "BLOCKED", 0.3)
    server = make_server()
    prepare(server)
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = server.admin.headers["authorization"]
        head = (
            f"GET {DEALS}/feed HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: {token}\r\n\r\n"
        )
        slow.sendall(head.encode())
        eventually(lambda: open_streams(server) == 1)
        with follow(server.admin).wait_ready() as quick:
            for number in range(12):
                create(server.admin, title="x" * 900_000, value=number)
            assert len(quick.changes(12)) == 12, "a slow client delays no other"
            eventually(lambda: open_streams(server) == 1)
    eventually(lambda: open_streams(server) == 0)


async def test_who_reads_on_after_all_hears_that_it_was_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_streams, "BLOCKED", 0.05)
    sent: list[bytes] = []

    async def write() -> AsyncIterator[bytes]:
        yield b"id: 1\n\n"
        yield b"id: 2\n\n"

    async def send(message: Any) -> None:
        """Take what is sent; the second chunk only once it is given up."""
        body = message.get("body", b"")
        if body == b"id: 2\n\n":
            await anyio.sleep_forever()
        sent.append(body)

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def refusal() -> bytes:
        await anyio.sleep_forever()
        return b""

    stream = EventStream(write(), AsyncExitStack(), refusal, write_end("too slow"))
    with anyio.fail_after(60):
        await stream({"type": "http", "method": "GET"}, receive, send)
    assert sent == [b"", b"id: 1\n\n", b'event: end\ndata: {"reason":"too slow"}\n\n']


def test_a_position_of_another_server_asks_for_a_new_list(
    make_server: MakeServer, desk: Server
) -> None:
    other = make_server()
    prepare(other)
    with follow(other.admin).wait_ready() as stream:
        position = stream.last_id
    create(desk.admin, title="not seen before")
    with follow(desk.admin, since=position).wait_ready() as stream:
        resync, ready = stream.events
        assert resync.name == "resync"
        assert resync.data["reason"] in ("another server", "restored")
        assert ready.id == resync.id
        record = create(desk.admin, title="and on it goes")
        assert stream.changes(1) == [("enter", record)]


def test_a_condition_that_an_install_broke_is_refused_by_name(desk: Server) -> None:
    app_id = f"app{uuid.uuid4().hex[:8]}"
    fields = [{"name": "a", "type": "text"}, {"name": "b", "type": "text"}]
    manifest: dict[str, Any] = {
        "appId": app_id,
        "name": "x",
        "dataContract": [{"entityName": "things", "fields": fields}],
    }
    desk.install(manifest)
    path = f"/api/v1/apps/{app_id}/collections/things/feed"
    parameters = {"where": json.dumps({"b": "x"})}
    with Stream(desk.admin, "GET", path, params=parameters).wait_ready() as stream:
        position = stream.last_id
        manifest["dataContract"][0]["fields"] = fields[:1]
        desk.install(manifest)
        assert stream.end() == "entity changed"
    answer = desk.admin.get(path, params={**parameters, "since": position})
    assert answer.status_code == 400
    assert "things has no field 'b'" in answer.json()["error"]


def test_ids_that_are_segments_of_paths_are_refused(desk: Server) -> None:
    app_id = f"app{uuid.uuid4().hex[:8]}"
    fields = [{"name": "id", "type": "text"}, {"name": "a", "type": "text"}]
    contract = [{"entityName": "things", "fields": fields}]
    desk.install({"appId": app_id, "name": "x", "dataContract": contract})
    path = f"/api/v1/apps/{app_id}/collections/things"
    for name in ("feed", "undo", "webhooks"):
        answer = desk.admin.post(path, json={"id": name, "a": "x"})
        assert answer.status_code == 400, answer.text
        assert f"things.id must not be '{name}'" in answer.json()["error"]
    assert desk.admin.post(path, json={"id": "feeds", "a": "x"}).status_code == 201


def test_many_who_come_and_go_leave_nothing(desk: Server) -> None:
    for _ in range(50):
        assert desk.admin.head(f"{DEALS}/feed").status_code == 200
    eventually(lambda: open_streams(desk) == 0)
    assert desk.admin.get(f"/api/v1/apps/{APP}/collections/deals?limit=1").status_code == 200
