"""Jobs in PgQueuer, run in `.bench/`: prints what `queues.py` reads.

python pgqueuer_jobs.py DATABASE JOBS BATCH [waiting|together] POSTMASTER
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg
import uvloop
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

from tests.benchmarks.processes import cpu

PRODUCERS = 32
PORTION = 1000


async def main(
    database: dict[str, object], count: int, batch: int, how: str, postmaster: int
) -> None:
    """Enqueue jobs one by one, as requests do, and work them off, afterwards or meanwhile."""
    async with asyncpg.create_pool(**database, min_size=10, max_size=10) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.uninstall()
        await queries.install()
        app = PgQueuer(driver)
        done = 0
        ended = asyncio.Event()

        @app.entrypoint("nothing")
        async def nothing(job: Job) -> None:
            nonlocal done
            json.loads(job.payload or b"null")
            done += 1
            if done == count:
                ended.set()

        mode = QueueExecutionMode.continuous
        if how == "waiting":
            mode = QueueExecutionMode.drain
            await fill(queries, count)
        began, used, database_used = time.perf_counter(), time.process_time(), cpu(postmaster)
        working = asyncio.create_task(app.qm.run(batch_size=batch, mode=mode))  # noqa: TID251
        if how == "together":
            await produce(queries, count)
        await ended.wait()
        while await pool.fetchval("select count(*) from pgqueuer"):  # its outcomes are stored
            await asyncio.sleep(0.002)
        reported = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - used,
            "database_cpu": cpu(postmaster) - database_used,
            "jobs": done,
        }
        print(json.dumps(reported), flush=True)
        app.qm.shutdown.set()
        await working


def payload(number: int) -> bytes:
    """What a job carries."""
    return json.dumps({"type": "nothing", "n": number}).encode()


async def fill(queries: Queries, count: int) -> None:
    """Enqueue many jobs, portion by portion."""
    for start in range(0, count, PORTION):
        some = range(start, min(count, start + PORTION))
        payloads = [payload(number) for number in some]
        await queries.enqueue(["nothing"] * len(some), payloads, [0] * len(some))


async def produce(queries: Queries, count: int) -> None:
    """Enqueue so many jobs, some at the same moment."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await queries.enqueue("nothing", payload(number))

    await asyncio.gather(*(one() for _ in range(PRODUCERS)))


if __name__ == "__main__":
    database, jobs, size, mode, pid = sys.argv[1:]
    uvloop.run(main(json.loads(database), int(jobs), int(size), mode, int(pid)))
