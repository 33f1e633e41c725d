"""Clients of feeds that come back with their position, to whichever server answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from kernel.testing.servers import NO_TLS
from tests.faults.support import User, notes

PAUSE: Final = 0.05
CHANGES: Final = ("enter", "change", "leave")


class FeedFollower(threading.Thread):
    """Follows the notes of an app over HTTP, and comes back wherever the stream breaks."""

    def __init__(self, urls: list[str], headers: dict[str, str], app_id: str) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        """The servers to go to, which the test changes."""
        self._headers = headers
        self._path = f"{notes(app_id)}/feed"
        self._turns = itertools.count()
        self.over = threading.Event()
        self.is_ready = threading.Event()
        self.position = ""
        self.streams = 0
        """Streams that were opened."""
        self.received = defaultdict[str, list[tuple[str, Any]]](list)
        """The events of each record: their names and the revision."""
        self.ids: list[str] = []
        self.odd: list[str] = []

    def run(self) -> None:
        """Follow until the end; a server that is away is tried again."""
        with httpx.Client(timeout=20, verify=NO_TLS) as client:
            while not self.over.is_set():
                try:
                    self._follow(client)
                except httpx.TransportError:
                    self.over.wait(PAUSE)

    def _follow(self, client: httpx.Client) -> None:
        url = self._urls[next(self._turns) % len(self._urls)]
        headers = dict(self._headers)
        if self.position:
            headers["last-event-id"] = self.position
        with client.stream("GET", url + self._path, headers=headers) as answer:
            if answer.status_code != 200:
                if answer.status_code != 503:
                    self.odd.append(f"{answer.status_code} {answer.read()!r}")
                self.over.wait(PAUSE)
                return
            self.streams += 1
            block: dict[str, str] = {}
            for line in answer.iter_lines():
                if self.over.is_set():
                    return
                if line:
                    name, _, text = line.partition(":")
                    block[name] = text.removeprefix(" ")
                    continue
                self._take(block)
                block = {}

    def _take(self, block: dict[str, str]) -> None:
        """Take a whole event; of one that breaks off nothing counts."""
        event = block.get("event")
        if "id" in block:
            self.position = block["id"]
        if event == "ready":
            self.is_ready.set()
        elif event == "resync":
            self.odd.append(block["data"])
        elif event in CHANGES:
            data = json.loads(block["data"])
            revision = data["record"]["revision"] if "record" in data else None
            self.received[data["id"]].append((event, revision))
            self.ids.append(block["id"])


def read_expected(
    sql: Callable[..., list[tuple[Any, ...]]], app_id: str
) -> dict[str, list[tuple[str, Any]]]:
    """Return the events of each note that the trail has, by the rules of a feed.

    Each transaction of the writers changes a note once. An update that changes nothing that is
    shown makes no event.
    """
    rows = sql(
        "select record_id, operation, (old_record ->> 'revision')::float,"
        " (new_record ->> 'revision')::float from caudex_audit.log"
        " where table_schema = %s and table_name = 'notes' order by id",
        app_id,
    )
    expected = defaultdict[str, list[tuple[str, Any]]](list)
    for record_id, operation, old, new in rows:
        if operation == "INSERT":
            expected[record_id].append(("enter", new))
        elif operation == "DELETE":
            expected[record_id].append(("leave", None))
        elif old != new:
            expected[record_id].append(("change", new))
    return expected


class Connects:
    """Clients that open a feed, read until they have everything, and leave."""

    def __init__(self, user: User, app_id: str) -> None:
        self._place = urlsplit(str(user.base_url))
        head = [
            f"GET {notes(app_id)}/feed HTTP/1.1",
            f"host: {self._place.netloc}",
            f"authorization: {user.headers['authorization']}",
        ]
        self._request = "\r\n".join([*head, "", ""]).encode()
        self.odd: list[bytes] = []

    def send(self, count: int, at_once: int = 20) -> None:
        """Open so many feeds, some at a time."""
        asyncio.run(self._send(count, at_once))

    async def _send(self, count: int, at_once: int) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self._connect()

        async with asyncio.timeout(300):
            await asyncio.gather(*(work() for _ in range(at_once)))

    async def _connect(self) -> None:
        """Try until the server has room: it notices a moment later that a client has left."""
        while True:
            reader, writer = await asyncio.open_connection(self._place.hostname, self._place.port)
            try:
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " in head[:20]:
                    await reader.readuntil(b"event: ready")
                    return
                if b" 503 " not in head[:20]:
                    self.odd.append(head)
                    return
            finally:
                writer.close()
            await asyncio.sleep(PAUSE)


def read_until_ready(user: User, app_id: str, since: str) -> list[tuple[str, Any]]:
    """Return the first events of a feed from a position on, and their data."""
    events: list[tuple[str, Any]] = []
    path = f"{notes(app_id)}/feed"
    with user.stream("GET", path, params={"since": since}) as answer:
        assert answer.status_code == 200, answer.read()
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
                if name == "ready":
                    break
    return events
