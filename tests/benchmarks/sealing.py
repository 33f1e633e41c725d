"""What it costs to seal the trail, beside the writes, and how fast a verification is."""

from __future__ import annotations

import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import msgspec

from kernel.app import running
from kernel.config.settings import load_config
from kernel.loading.loader import load
from plugins.audit.evidence.service import EVIDENCE, Evidence

from .load import measure, run
from .requests import COLLECTION, HTTP_CONNECTIONS, NEW, Want, fill, raw
from .stage import Stage, stage

OFF = """
[plugins.audit]
seal = false
"""
"""The server seals nothing meanwhile: this process does, so that its work is known alone."""
ROWS = 100_000
"""Rows of the trail that are verified, at least."""
FILL = """
insert into crm.contacts (first_name, last_name)
select 'Name ' || n, 'of a person' from generate_series(1, {rows}) as n
"""
CREATE = Want(name="create", method="POST", body=NEW)


class Found(msgspec.Struct):
    """Processor time of a sealed row in microseconds, its share, and rows verified a second."""

    row_micros: float
    percent_of_wait: float
    """Of the time that one caller waits for a create, by the clock."""
    percent_of_create: float
    percent_of_time: float
    """Of the time that the creates of many callers took, by the clock."""
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
        created, writing, writing_seconds = await _create(one, HTTP_CONNECTIONS, seconds)
        rows = int(one.ask("select count(*) from caudex_audit.log")) - before
        assert rows >= created
        sealing = await _used(one, sealer.seal_all)
        waits, _, waiting_seconds = await _create(one, 1, seconds)

        one.sql(FILL.format(rows=ROWS))
        await sealer.seal_all()
        memory = _peak_memory()
        began = time.perf_counter()
        report = await evidence.verifier().verify()
        took = time.perf_counter() - began
    if not report.ok or report.rows < ROWS:
        raise RuntimeError(f"the verification found something else: {report}")
    return Found(
        row_micros=1e6 * sealing / rows,
        percent_of_wait=100 * (sealing / rows) / (waiting_seconds / waits),
        percent_of_create=100 * sealing / writing,
        percent_of_time=100 * sealing / writing_seconds,
        verified_per_second=report.rows / took,
        memory_mb=_peak_memory() - memory,
    )


async def _create(one: Stage, callers: int, seconds: float) -> tuple[int, float, float]:
    """Create records; return how many, and the processor time and the seconds that it took."""
    requests = raw(one.url, COLLECTION, CREATE, [], one.token)
    used = one.cpu() + one.database_cpu()
    began = time.perf_counter()
    sample = await measure(one.url, requests, connections=callers, seconds=seconds)
    took = time.perf_counter() - began
    return sample.count, one.cpu() + one.database_cpu() - used, took


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
    async with running(load(config)) as services:
        yield services.get(EVIDENCE)


def _peak_memory() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
