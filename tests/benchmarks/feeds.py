"""Creates that clients follow, beside others; and how soon an event comes."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec

from .beyond import kept_busy
from .figures import Case, Measured
from .load import request
from .stage import Stage

FOLLOWERS = 100
EVENTS = 200
APP = "feeds"
BASE = f"/api/v1/apps/{APP}/collections"
FIELDS = [{"name": "title", "type": "text"}, {"name": "value", "type": "number"}]
MANIFEST = {
    "appId": APP,
    "name": "Feeds",
    "dataContract": [{"entityName": name, "fields": FIELDS} for name in ("deals", "others")],
}
DEAL = msgspec.json.encode({"title": "Deal", "value": 1})


class Latency(msgspec.Struct, frozen=True):
    """Seconds from the reply to a create until its event; 0 where the event came first."""

    p50: float
    p99: float


class Followed:
    """Creates of deals, while clients follow an entity, if any."""

    def __init__(self, stage: Stage, name: str, entity: str = "") -> None:
        self.name = name
        self._stage = stage
        self._entity = entity

    def measure(self, seconds: float) -> Measured:
        """See `Contender.measure`."""
        stage = self._stage
        raw = request("POST", stage.url, f"{BASE}/deals", stage.token, DEAL)
        with following(stage, self._entity):
            return kept_busy(stage, raw, seconds)


def case(stage: Stage) -> Case:
    """Compare creates that are followed with those that are not."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    ours = [
        Followed(stage, f"{FOLLOWERS} follow another entity", "others"),
        Followed(stage, f"{FOLLOWERS} follow this entity", "deals"),
    ]
    return Case("create, followed", ours, [Followed(stage, "not followed")])


@contextmanager
def following(stage: Stage, entity: str) -> Generator[None]:
    """Follow an entity by many streams, which are read in a thread."""
    if not entity:
        yield
        return
    is_over = threading.Event()
    with selectors.DefaultSelector() as selector:
        streams = [_open(stage, entity) for _ in range(FOLLOWERS)]
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)

        def read() -> None:
            while not is_over.is_set():
                for key, _ in selector.select(0.1):
                    key.fileobj.recv(1 << 18)  # type: ignore[union-attr]

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield
        finally:
            is_over.set()
            reader.join()
            for stream in streams:
                stream.close()


def measure_latency(stage: Stage, events: int = EVENTS) -> Latency:
    """Create records one after the other, and note when the event of each comes."""
    came: dict[str, float] = {}
    replied: dict[str, float] = {}
    with _open(stage, "deals") as stream:

        def note() -> None:
            for line in _lines(stream):
                if line.startswith("data: ") and '"record"' in line:
                    came[json.loads(line[6:])["id"]] = time.perf_counter()
                if len(came) == events:
                    return

        reader = threading.Thread(target=note, daemon=True)
        reader.start()
        for _ in range(events):
            record = stage.call("POST", f"{BASE}/deals", msgspec.json.decode(DEAL))
            replied[record["id"]] = time.perf_counter()
            time.sleep(0.02)
        reader.join(10)
    missing = replied.keys() - came.keys()
    if missing:
        raise RuntimeError(f"{len(missing)} events did not come")
    seconds = sorted(max(0.0, came[key] - replied[key]) for key in replied)
    return Latency(seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)])


def _open(stage: Stage, entity: str) -> socket.socket:
    """Open a stream and read until it is ready."""
    address = urlsplit(stage.url)
    stream = socket.create_connection((address.hostname or "", address.port or 80), timeout=30)
    stream.sendall(request("GET", stage.url, f"{BASE}/{entity}/feed", stage.token))
    for line in _lines(stream):
        if line.startswith("HTTP/") and " 200 " not in line:
            raise RuntimeError(line)
        if line == "event: ready":
            return stream
    raise RuntimeError("the stream ended")


def _lines(stream: socket.socket) -> Iterator[str]:
    rest = b""
    while piece := stream.recv(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.strip().decode() for line in lines)
