"""A client of feeds: it reads one stream in a thread, and keeps what came."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import httpx

from kernel.testing import Client
from tests.waiting import eventually

APP = "crm"
BASE = f"/api/v1/apps/{APP}/collections"
DEALS = f"{BASE}/deals"
MANIFEST: dict[str, Any] = {
    "appId": APP,
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "deals",
            "search": {"fields": ["title"]},
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "value", "type": "number"},
                {"name": "stage", "type": "text"},
                {"name": "margin", "type": "number", "access": {"read": ["boss"]}},
                {"name": "contact_id", "type": "entity_link", "references": {"entity": "contacts"}},
            ],
        },
        {
            "entityName": "contacts",
            "fields": [{"name": "name", "type": "text"}, {"name": "email", "type": "text"}],
        },
    ],
}


class Event(NamedTuple):
    """A server-sent event; the name of one without data is empty."""

    name: str
    id: str | None
    data: Any


class Stream(threading.Thread):
    """Reads a stream until it ends; leaving the context closes it."""

    def __init__(self, client: Client, method: str, path: str, **options: Any) -> None:
        super().__init__(daemon=True)
        headers = {**client.headers, **options.pop("headers", {})}
        self._http = httpx.Client(base_url=client.base_url, headers=headers, timeout=60)
        self._request = (method, path, options)
        self._began = threading.Event()
        self._is_closed = False
        self._socket: socket.socket | None = None
        self.status = 0
        self.body = b""
        self.headers: Mapping[str, str] = {}
        self.blocks: list[Event] = []
        self.last_id = ""
        self.has_ended = threading.Event()

    def open(self) -> Stream:
        """Begin to read."""
        if not self._began.is_set():
            self.start()
            assert self._began.wait(30)
            assert self.status == 200, self.body
        return self

    def __enter__(self) -> Stream:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        if self._socket is not None:
            # To close it would not end the wait of the thread, and so not the connection.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self.join(30)
        self._http.close()

    def run(self) -> None:
        """Read until the end."""
        method, path, options = self._request
        try:
            with self._http.stream(method, path, **options) as answer:
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                self.status = answer.status_code
                self.headers = answer.headers
                if self.status != 200:
                    self.body = answer.read()
                self._began.set()
                self._read(answer)
        except Exception:
            if not self._is_closed:
                raise
        finally:
            self._began.set()
            self.has_ended.set()

    def _read(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            if "id" in fields:
                self.last_id = fields["id"]
            data = json.loads(fields["data"]) if "data" in fields else None
            self.blocks.append(Event(fields.get("event", ""), fields.get("id"), data))
            fields = {}

    @property
    def events(self) -> list[Event]:
        """What came, but for heartbeats and the words about coming back."""
        return [block for block in self.blocks if block.name]

    def named(self, *names: str) -> list[Event]:
        """The events of some names."""
        return [event for event in self.events if event.name in names]

    def wait(self, probe: Callable[[Stream], Any]) -> Any:
        """Wait until a probe of this stream is true."""
        return eventually(lambda: probe(self), why=lambda: self.events[-5:])

    def wait_ready(self) -> Stream:
        """Wait until the stream has sent what was missed."""
        self.open()
        self.wait(lambda stream: stream.named("ready"))
        return self

    def changes(self, count: int) -> list[tuple[str, Any]]:
        """Wait for so many changes, and return their names and records."""
        names = ("enter", "change", "leave")
        self.wait(lambda stream: len(stream.named(*names)) >= count)
        return [(event.name, event.data.get("record")) for event in self.named(*names)]

    def end(self) -> str:
        """Wait for the end, and return its reason."""
        assert self.has_ended.wait(30), self.events[-5:]
        [event] = self.named("end")
        assert self.events[-1] is event
        return event.data["reason"]


def follow(client: Client, entity: str = "deals", **options: Any) -> Stream:
    """Follow one entity; `where` is a tree, `since` and `fields` are texts."""
    parameters = {name: options.pop(name) for name in ("fields", "since") if name in options}
    if "where" in options:
        parameters["where"] = json.dumps(options.pop("where"))
    return Stream(client, "GET", f"{BASE}/{entity}/feed", params=parameters, **options)


def subscribe(client: Client, subscriptions: Mapping[str, Any], **options: Any) -> Stream:
    """Follow several at once."""
    body = {"subscribe": dict(subscriptions)}
    if "since" in options:
        body["since"] = options.pop("since")
    return Stream(client, "POST", f"/api/v1/apps/{APP}/feed", json=body, **options)


def create(client: Client, entity: str = "deals", **values: Any) -> dict[str, Any]:
    """Create a record."""
    answer = client.post(f"{BASE}/{entity}", json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def patch(
    client: Client, record: Mapping[str, Any], entity: str = "deals", **values: Any
) -> dict[str, Any]:
    """Change a record."""
    answer = client.patch(f"{BASE}/{entity}/{record['id']}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def delete(client: Client, record: Mapping[str, Any]) -> None:
    """Delete a deal."""
    client.delete(f"{DEALS}/{record['id']}").raise_for_status()
