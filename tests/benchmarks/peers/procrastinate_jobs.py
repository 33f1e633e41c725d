"""Jobs in Procrastinate, run in `.bench/`: prints what `queues.py` reads.

python procrastinate_jobs.py DATABASE JOBS CONCURRENCY [waiting|together] POSTMASTER
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import procrastinate
import psycopg
import uvloop

from tests.benchmarks.processes import cpu

PRODUCERS = 32


async def main(
    database: dict[str, object], count: int, concurrency: int, how: str, postmaster: int
) -> None:
    """Enqueue jobs one by one, as requests do, and work them off, afterwards or meanwhile."""
    dsn = {**database, "dbname": database["database"], "options": "-c search_path=procrastinate"}
    del dsn["database"]
    async with await psycopg.AsyncConnection.connect(**dsn, autocommit=True) as connection:
        await connection.execute("drop schema if exists procrastinate cascade")
        await connection.execute("create schema procrastinate")
    connector = procrastinate.PsycopgConnector(kwargs=dsn, min_size=10, max_size=10 + concurrency)
    app = procrastinate.App(connector=connector)
    done, ended = 0, asyncio.Event()

    @app.task(name="nothing")
    async def nothing(n: int) -> dict[str, int]:
        nonlocal done
        done += 1
        if done == count:
            ended.set()
        return {"n": n}

    async def produce() -> None:
        numbers = iter(range(count))

        async def one() -> None:
            for number in numbers:
                await nothing.defer_async(n=number)

        await asyncio.gather(*(one() for _ in range(PRODUCERS)))

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        work = {"concurrency": concurrency, "install_signal_handlers": False}
        if how == "waiting":
            await nothing.batch_defer_async(*({"n": number} for number in range(count)))
        began, used, database_used = time.perf_counter(), time.process_time(), cpu(postmaster)
        if how == "waiting":
            await app.run_worker_async(wait=False, **work)
        else:
            working = asyncio.create_task(app.run_worker_async(**work))  # noqa: TID251
            await produce()
            await ended.wait()
        reported = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - used,
            "database_cpu": cpu(postmaster) - database_used,
            "jobs": done,
        }
        print(json.dumps(reported), flush=True)
        if how != "waiting":
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


if __name__ == "__main__":
    database, jobs, size, mode, pid = sys.argv[1:]
    uvloop.run(main(json.loads(database), int(jobs), int(size), mode, int(pid)))
