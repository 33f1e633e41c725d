"""What it costs to seal the trail, beside the writes, and how fast a verification is."""

from __future__ import annotations

import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from statistics import fmean, median

import anyio
import anyio.to_thread
import msgspec

from kernel.app import running
from kernel.config.settings import load_config
from kernel.loading import loader
from plugins.audit.evidence.sealer import Sealer
from plugins.audit.evidence.service import EVIDENCE, Evidence

from .load import Sample, load, measure, run
from .requests import COLLECTION, HTTP_CONNECTIONS, NEW, Want, fill, raw
from .stage import Stage, stage

OFF = """
[plugins.audit]
seal = false
"""
"""The server seals nothing meanwhile: this process does, so that its work is known alone."""
ROWS = 100_000
"""Rows of the trail that are sealed in one piece, and that are verified, at least."""
TURNS = 3
LOAD_SECONDS = 4
"""What it takes to seal `ROWS` beside creates, and more."""
FILL = """
insert into crm.contacts (first_name, last_name)
select 'Name ' || n, 'of a person' from generate_series(1, {rows}) as n
"""
SEALED = "select coalesce(sum((statement::json->>'rows')::bigint), 0) from caudex_audit.seals"
CREATE = Want(name="create", method="POST", body=NEW)


class Found(msgspec.Struct):
    """Processor time of a sealed row in microseconds, its share, and rows verified a second."""

    row_micros: float
    percent_of_create: float
    lost_by_one: float
    """Creates that one caller loses while rows are sealed, in percent of those rows."""
    lost_by_many: float
    """Those that many callers lose."""
    verified_per_second: float
    memory_mb: float
    """What a verification added to the memory of this process, at most."""


def compare(config: str, folder: str | None, seconds: float) -> Found:
    """Create records, seal their rows, and verify all."""
    with ExitStack() as opened:
        one = opened.enter_context(stage(folder, name="sealing", config=config + OFF))
        fill(one)
        return run(_measure(one, seconds))


async def _measure(one: Stage, seconds: float) -> Found:
    async with _opened(one) as evidence:
        sealer = evidence.sealer
        assert sealer is not None
        await sealer.seal_all()
        before = int(one.ask("select count(*) from caudex_audit.log"))
        created, writing = await _create(one, HTTP_CONNECTIONS, seconds)
        rows = int(one.ask("select count(*) from caudex_audit.log")) - before
        assert rows >= created
        sealing = await _used(one, sealer.seal_all)
        lost_by_one = await _lost(one, sealer, 1)
        lost_by_many = await _lost(one, sealer, HTTP_CONNECTIONS)

        memory = _peak_memory()
        began = time.perf_counter()
        report = await evidence.verifier().verify()
        took = time.perf_counter() - began
    if not report.ok or report.rows < ROWS:
        raise RuntimeError(f"the verification found something else: {report}")
    return Found(
        row_micros=1e6 * sealing / rows,
        percent_of_create=100 * sealing / writing,
        lost_by_one=lost_by_one,
        lost_by_many=lost_by_many,
        verified_per_second=report.rows / took,
        memory_mb=_peak_memory() - memory,
    )


async def _create(one: Stage, callers: int, seconds: float) -> tuple[int, float]:
    """Create records; return how many, and the processor time that it took."""
    requests = raw(one.url, COLLECTION, CREATE, [], one.token)
    used = one.cpu() + one.database_cpu()
    sample = await measure(one.url, requests, connections=callers, seconds=seconds)
    return sample.count, one.cpu() + one.database_cpu() - used


async def _lost(one: Stage, sealer: Sealer, callers: int) -> float:
    """Return how many creates fail to be made for 100 rows that are sealed meanwhile.

    So this is what the sealing takes of the time of writes, as those who write notice it.
    """
    return median([await _lost_in_turn(one, sealer, callers) for _ in range(TURNS)])


async def _lost_in_turn(one: Stage, sealer: Sealer, callers: int) -> float:
    one.sql(FILL.format(rows=ROWS))
    sealed = int(one.ask(SEALED))
    alone = [await _load(one, callers)]
    beside = list[Sample]()

    async def create_beside() -> None:
        beside.append(await _load(one, callers))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create_beside)
        await sealer.seal_all()
    sealed = int(one.ask(SEALED)) - sealed
    alone.append(await _load(one, callers))
    lost = fmean(sample.count for sample in alone) - beside[0].count
    return 100 * lost / sealed


async def _load(one: Stage, callers: int) -> Sample:
    """Create records by a program of its own, which the work of this process does not slow."""

    def create() -> Sample:
        requests = raw(one.url, COLLECTION, CREATE, [], one.token)
        return load(one.url, requests, connections=callers, seconds=LOAD_SECONDS)

    return await anyio.to_thread.run_sync(create)


async def _used(one: Stage, work: Callable[[], Awaitable[None]]) -> float:
    """Return the processor time of PostgreSQL and of this process for some work."""
    used = one.database_cpu() + time.process_time()
    await work()
    return one.database_cpu() + time.process_time() - used


@asynccontextmanager
async def _opened(one: Stage) -> AsyncGenerator[Evidence]:
    """Open the evidence of a server in this process, as its commands do."""
    overrides = {"server.data_dir": str(one.data_dir), "database.url": one.dsn}
    overrides["plugins.audit"] = {"seal": True}  # type: ignore[assignment]
    config = load_config(str(one.folder / "caudex.toml"), environ={}, overrides=overrides)
    async with running(loader.load(config)) as services:
        yield services.get(EVIDENCE)


def _peak_memory() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
