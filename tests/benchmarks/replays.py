"""The trail as a stream: a long replay, and what a follower costs."""

from __future__ import annotations

import asyncio
import time

import msgspec
import psycopg

from plugins.audit.changes.positions import read_position
from tests.outside import reading

from .stage import Stage

CHANGES = 100_000
PORTION = 1_000
PAGE = 5_000
POLLS = 200
APP = "replays"
FIELDS = [{"name": name, "type": "text"} for name in ("title", "stage", "notes")]
MANIFEST = {
    "appId": APP,
    "name": "Replays",
    "dataContract": [{"entityName": "deals", "fields": FIELDS}],
}
SUBJECTS = [f"{APP}.deals"]
INSERT = f"""
insert into {APP}.deals (title, stage, notes)
select 'Deal ' || n, 'Won', 'Wants an offer for ' || n || ' seats.'
from generate_series(1, %s) as n"""


class Replay(msgspec.Struct):
    """Changes a second of a replay, MB that the reader grew by, and milliseconds of a look."""

    per_second: float
    memory_mb: float
    poll_ms: float
    """At one new change."""
    idle_ms: float
    """Where no transaction has ended."""


def measure(stage: Stage, count: int = CHANGES) -> Replay:
    """Write so many changes, read them from before the first, and look for single ones."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    return asyncio.run(_measure(stage.dsn, count))


async def _measure(dsn: str, count: int) -> Replay:
    with psycopg.connect(dsn, autocommit=True) as writer:
        async with reading(dsn) as changes:
            position = await changes.now()
            for portion in range(count // PORTION):
                writer.execute(INSERT, [PORTION])  # type: ignore[arg-type]
                if portion % 10 == 9:
                    await changes.mark()
            writer.execute("vacuum analyze caudex_audit.log")

            memory = _resident_mb()
            received = 0
            is_complete = False
            began = time.perf_counter()
            while not is_complete:
                page = await changes.read(position, SUBJECTS, PAGE)
                received += len(page.changes)
                position = page.position
                is_complete = page.complete
            seconds = time.perf_counter() - began
            grown = _resident_mb() - memory
            if received != count:
                raise RuntimeError(f"{received} changes of {count}")

            polls = list[float]()
            for _ in range(POLLS):
                writer.execute(INSERT, [1])  # type: ignore[arg-type]
                began = time.perf_counter()
                page = await changes.read(position, SUBJECTS)
                polls.append(time.perf_counter() - began)
                position = page.position
                if len(page.changes) != 1:
                    raise RuntimeError(f"{len(page.changes)} changes of 1")

            reader = changes.reader
            looks = list[float]()
            for _ in range(POLLS):
                began = time.perf_counter()
                await reader.is_newest(read_position(position))
                looks.append(time.perf_counter() - began)
    return Replay(received / seconds, grown, _middle(polls) * 1000, _middle(looks) * 1000)


def _middle(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
