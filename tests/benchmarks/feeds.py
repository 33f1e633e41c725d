"""Creates that clients follow, beside others; and how soon an event comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from urllib.parse import quote

import msgspec
import psycopg

from plugins.feed.stream import HEARTBEAT

from .beyond import kept_busy
from .figures import Case, Measured
from .load import request
from .readers import open_stream, read_lines, reading
from .stage import Stage

FOLLOWERS = 100
EVENTS = 200
IDLE_STREAMS = 1000
APP = "feeds"
BASE = f"/api/v1/apps/{APP}/collections"
FIELDS = [{"name": "title", "type": "text"}, {"name": "value", "type": "number"}]
MANIFEST = {
    "appId": APP,
    "name": "Feeds",
    "dataContract": [{"entityName": name, "fields": FIELDS} for name in ("deals", "others")],
}
INSERT = f"insert into {APP}.deals (title, value) values ('Deal', 1) returning id"
DEAL = msgspec.json.encode({"title": "Deal", "value": 1})
WHERE = {"value": {"$gte": 1}}
"""What all deals fulfil, so that each create is an event."""


class Latency(msgspec.Struct, frozen=True):
    """Seconds from the end of a write until its event; 0 where the event came first."""

    p50: float
    p99: float


class Idle(msgspec.Struct, frozen=True):
    """MB and percent of a core that idle streams take of the server."""

    memory_mb: float
    percent: float


Write = Callable[[], str]
"""Writes a record, and returns its id."""


class Followed:
    """Creates of deals, while clients follow some records, if any."""

    def __init__(self, stage: Stage, name: str, feed: bytes | None = None) -> None:
        """`feed` is the request of each client."""
        self.name = name
        self._stage = stage
        self._feed = feed

    def measure(self, seconds: float) -> Measured:
        """See `Contender.measure`."""
        stage = self._stage
        raw = request("POST", stage.url, f"{BASE}/deals", stage.token, DEAL)
        with following(stage, self._feed):
            return kept_busy(stage, raw, seconds)


def case(stage: Stage) -> Case:
    """Compare creates that are followed with those that are not."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    others = _follow(stage, "others")
    deals = _follow(stage, "deals", WHERE)
    ours = [
        Followed(stage, f"{FOLLOWERS} follow another entity", others),
        Followed(stage, f"{FOLLOWERS} follow this entity by a `where`", deals),
    ]
    return Case("create, followed", ours, [Followed(stage, "not followed")])


@contextmanager
def following(stage: Stage, feed: bytes | None, count: int = FOLLOWERS) -> Generator[None]:
    """Open a feed by many streams, which are read in another process."""
    if feed is None:
        yield
        return
    with reading(stage.url, [feed] * count):
        yield


def measure_latency(stage: Stage, write: Write, events: int = EVENTS) -> Latency:
    """Write records one after the other, and note when the event of each comes."""
    came: dict[str, float] = {}
    written: dict[str, float] = {}
    with open_stream(stage.url, _follow(stage, "deals")) as stream:

        def note() -> None:
            for line in read_lines(stream):
                if line.startswith("data: ") and '"record"' in line:
                    came[json.loads(line[6:])["id"]] = time.perf_counter()
                if len(came) == events:
                    return

        reader = threading.Thread(target=note, daemon=True)
        reader.start()
        for _ in range(events):
            record_id = write()
            written[record_id] = time.perf_counter()
            time.sleep(0.02)
        reader.join(10)
    missing = written.keys() - came.keys()
    if missing:
        raise RuntimeError(f"{len(missing)} events did not come")
    seconds = sorted(max(0.0, came[key] - written[key]) for key in written)
    return Latency(seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)])


def measure_latencies(stage: Stage) -> tuple[Latency, Latency]:
    """Measure what this server writes, and what another process does."""

    def create() -> str:
        return stage.call("POST", f"{BASE}/deals", msgspec.json.decode(DEAL))["id"]

    here = measure_latency(stage, create)
    with psycopg.connect(stage.dsn, autocommit=True) as connection:

        def insert() -> str:
            [record_id] = connection.execute(INSERT).fetchone() or [None]
            return str(record_id)

        return here, measure_latency(stage, insert)


def measure_idle(stage: Stage, streams: int = IDLE_STREAMS) -> Idle:
    """Open many streams, and let nothing happen but one heartbeat of each."""
    memory = stage.memory()
    used_without = _use_nothing(stage)
    with following(stage, _follow(stage, "others"), streams):
        time.sleep(3)  # what opening them took is over
        used = _use_nothing(stage) - used_without
        return Idle(stage.memory() - memory, 100 * used / HEARTBEAT)


def _use_nothing(stage: Stage) -> float:
    """Return the processor time of the server without a write, as long as a heartbeat takes."""
    used = stage.cpu()
    time.sleep(HEARTBEAT)
    return stage.cpu() - used


def _follow(stage: Stage, entity: str, where: object = None) -> bytes:
    """Return the request for a feed of an entity, or of its records that fulfil a condition."""
    condition = "" if where is None else "?where=" + quote(msgspec.json.encode(where))
    return request("GET", stage.url, f"{BASE}/{entity}/feed{condition}", stage.token)
