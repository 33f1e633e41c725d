"""What happens when tables grow: pages, counts, complete lists, memory, the start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import anyio.to_thread
import msgspec

from .figures import Measured, Ratio, ratio
from .load import drain, measure, request, run
from .stage import Stage

SIZES = (10_000, 100_000, 1_000_000)
REQUESTS = 60
"""Replies of which a page's time is the median."""

WARM_UP = 20
"""Common searches on each connection."""

FIELDS = (
    {"name": "title", "type": "text", "required": True},
    {"name": "value", "type": "number"},
    {"name": "stage", "type": "text"},
)
FILL = """
insert into {table} (title, value, stage, created_at, updated_at)
select 'Deal ' || n, n % 9000, (array['Lead', 'Proposal', 'Won'])[1 + n % 3],
    now() - n * interval '1 second', now() - n * interval '1 second'
from generate_series(1, {rows}) as n
"""


class Stream(msgspec.Struct):
    """A complete list: how much came, and the server's memory in MB."""

    rows: int
    size: int
    seconds: float
    memory_before: float
    memory_peak: float

    @property
    def growth(self) -> float:
        """MB that the server needed on top."""
        return self.memory_peak - self.memory_before


def entity(rows: int) -> str:
    """The collection that holds so many rows."""
    return f"rows_{rows}"


def prepare(stage: Stage, sizes: Sequence[int]) -> None:
    """Install an app with a collection of each size and fill it, past the audit trail."""
    entities = [{"entityName": entity(rows), "fields": FIELDS} for rows in sizes]
    manifest = {"appId": "growth", "name": "Growth", "dataContract": entities}
    stage.call("POST", "/api/v1/apps", manifest)
    for rows in sizes:
        table = f"growth.{entity(rows)}"
        stage.sql(
            "set session_replication_role = replica",
            FILL.format(table=table, rows=rows),
            f"vacuum analyze {table}",
        )
    stage.sql("checkpoint")


def pages(stage: Stage, sizes: Sequence[int], rounds: int) -> list[Ratio]:
    """Time a page of 20 at each size, the sizes taking turns."""
    paths = {
        "first page of 20": dict.fromkeys(sizes, "?limit=20"),
        "page in the middle": {rows: f"?limit=20&after={_middle(stage, rows)}" for rows in sizes},
    }
    found: list[Ratio] = []
    for name, each in paths.items():
        smallest, *larger = (
            (f"{rows:,} rows", samples) for rows, samples in _in_turns(stage, each, rounds).items()
        )
        found += [ratio(name, *one, *smallest) for one in larger]
    return found


def _in_turns(stage: Stage, paths: Mapping[int, str], rounds: int) -> dict[int, list[Measured]]:
    found: dict[int, list[Measured]] = {rows: [] for rows in paths}
    for _ in range(rounds):
        for rows, path in paths.items():
            raw = request("GET", stage.url, _collection(rows) + path, stage.token)
            found[rows].append(_timed(stage, raw))
    return found


def _timed(stage: Stage, raw: bytes, count: int = REQUESTS) -> Measured:
    sample = run(measure(stage.url, [raw], connections=1, seconds=20, count=count))
    return Measured(rate=sample.per_second, p50=sample.p50, p99=sample.p99)


def _middle(stage: Stage, rows: int) -> str:
    page = stage.call("GET", f"{_collection(rows)}?limit=1&offset={rows // 2}")
    return page[0]["id"]


def _collection(rows: int) -> str:
    return f"/api/v1/apps/growth/collections/{entity(rows)}"


def stream(stage: Stage, rows: int) -> Stream:
    """Read a complete collection and watch the server's memory meanwhile."""
    raw = request("GET", stage.url, _collection(rows), stage.token)
    before = stage.memory()
    began = time.perf_counter()
    peak, (size, lines) = run(_watched(stage, raw))
    took = time.perf_counter() - began
    if not rows - 2 <= lines <= rows * 2:
        raise RuntimeError(f"{lines} lines came for {rows} records")
    return Stream(rows, size, took, before, max(before, peak))


async def _watched(stage: Stage, raw: bytes) -> tuple[float, tuple[int, int]]:
    peak, reading = 0.0, asyncio.ensure_future(drain(stage.url, raw))  # noqa: TID251
    while not reading.done():
        peak = max(peak, await anyio.to_thread.run_sync(stage.memory))
        await asyncio.wait([reading], timeout=0.05)
    return peak, reading.result()


def audit(stage: Stage, rounds: int) -> list[Ratio]:
    """Time a search that finds nothing against one that finds much, after enough of the latter to
    mislead a plan that is made once."""
    stage.sql("analyze caudex_audit.log")  # autovacuum does so, within a minute
    path = "/api/v1/audit?app_id=crm&entity={}&limit=100"
    common, absent = (
        request("GET", stage.url, path.format(name), stage.token) for name in ("deals", "nothing")
    )
    run(measure(stage.url, [common], connections=10, seconds=60, count=10 * WARM_UP))
    found: dict[bytes, list[Measured]] = {absent: [], common: []}
    for _ in range(rounds):
        for raw, samples in found.items():
            samples.append(_timed(stage, raw))
    absent_ones, common_ones = found.values()
    return [ratio("audit search of 100", "absent", absent_ones, "common", common_ones)]
