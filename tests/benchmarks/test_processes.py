"""What several server processes send to PostgreSQL, beside what one sends."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import pytest

from kernel.config.settings import DatabaseConfig
from tests.waiting import eventually

from .load import measure, request, run
from .queues import APP, install, wait_for_worker
from .requests import COLLECTION, NEW, Want, fill, raw
from .stage import Stage, crm_manifest, stage
from .statements import logged
from .surroundings import callers

SEVERAL = 3
IDLE_SECONDS = 8.0
WRITES, READS, JOBS = 30, 90, 15
CONNECTIONS = "select count(*) from pg_stat_activity where application_name like 'caudex%'"
IDLE = {1: 10, 2: 8}
"""Connections of a process, alone and as one of two: seven or five of the pipelined driver, one
that listens, one that watches app logins, and one of the pool, which opens others on demand."""
STATEMENT = re.compile(
    r"^caudex[^>]*> LOG:  (?:execute \S+|statement): (.*(?:\n\t.*)*)", re.MULTILINE
)
CLAIM, NOTIFICATION, RECORDS = "caudex_jobs.claim(", "caudex_kernel.revisions as r", '"deals"'


class Sent(NamedTuple):
    """Statements of a server in each of three periods, by their text."""

    idle: Counter[str]
    records: Counter[str]
    jobs: Counter[str]


def sent(stage: Stage, work: Callable[[], object]) -> Counter[str]:
    """Count the statements that the server sends meanwhile, but those of `work` itself."""
    start = stage.database_log.stat().st_size
    work()
    time.sleep(0.3)
    with stage.database_log.open("rb") as log:
        log.seek(start)
        found = STATEMENT.findall(log.read().decode("utf-8", "replace"))
    return Counter(" ".join(text.split())[:2000] for text in found)


def about(counts: Counter[str], words: str) -> int:
    return sum(count for text, count in counts.items() if words in text)


def records(stage: Stage) -> None:
    create = raw(stage.url, COLLECTION, Want(name="c", method="POST", body=NEW), [], stage.token)
    made = raw(stage.url, f"{COLLECTION}?limit=5", Want(name="l"), [], stage.token)
    for requests, count in ((create, WRITES), (made, READS)):
        run(measure(stage.url, requests, connections=6, seconds=60, count=count))


def jobs(stage: Stage) -> None:
    """Enqueue one after the other, each when the one before has ended."""
    for _ in range(JOBS):
        path = f"/api/v1/apps/{APP}/jobs"
        job = stage.call("POST", path, {"payload": {"type": "nothing", "n": 1}})["job_id"]
        while stage.call("GET", f"{path}/{job}")["status"] != "completed":
            time.sleep(0.02)


def measured(processes: int) -> Sent:
    options = ("--workers", str(processes)) if processes > 1 else ()
    with stage(options=options) as server:
        server.sign_in()
        server.call("POST", "/api/v1/apps", crm_manifest())
        install(server)
        wait_for_worker(server)
        with logged(server):
            records(server)  # each process has the token, the roles and the catalog afterwards
            jobs(server)
            return Sent(
                idle=sent(server, lambda: time.sleep(IDLE_SECONDS)),
                records=sent(server, lambda: records(server)),
                jobs=sent(server, lambda: jobs(server)),
            )


@pytest.mark.slow
def test_statements_claims_and_notifications_grow_no_faster_than_processes() -> None:
    one, several = measured(1), measured(SEVERAL)
    assert about(one.idle, "caudex_kernel.revisions") >= IDLE_SECONDS - 2  # the log was read
    for kind in several.idle:  # two timers send the same, and may be due once more in the time
        assert several.idle[kind] <= SEVERAL * (one.idle[kind] + 2), kind
    # A request costs as many statements, and a job as many notifications, as with one process.
    assert about(several.records, RECORDS) == about(one.records, RECORDS) == WRITES + READS
    assert about(one.jobs, NOTIFICATION) <= 2 * JOBS
    assert about(several.jobs, NOTIFICATION) <= about(one.jobs, NOTIFICATION) + 2
    assert JOBS <= about(several.jobs, CLAIM) <= SEVERAL * about(one.jobs, CLAIM)
    assert several.jobs.total() <= SEVERAL * one.jobs.total()


async def mixed(stage: Stage) -> None:
    def ask(path: str, body: object = None) -> bytes:
        content = None if body is None else msgspec.json.encode(body)
        return request("POST" if body else "GET", stage.url, path, stage.token, content)

    company = {"op": "create", "entity": "companies", "as": "acme", "data": {"name": "Acme"}}
    linked = {**NEW, "company_id": {"$ref": "acme.id"}}
    deal = {"op": "create", "entity": "deals", "data": linked}
    small = [
        ask(COLLECTION, NEW),
        ask(f"{COLLECTION}?limit=20"),
        ask(f"{COLLECTION}?limit=20&stage=Proposal"),
        ask("/api/v1/apps/crm/batch", {"operations": [company, deal]}),
    ]
    await asyncio.gather(
        measure(stage.url, small, connections=48, seconds=5),
        # A process sends three complete lists at once, and refuses more.
        measure(stage.url, [ask(f"{COLLECTION}?stage=Proposal")], connections=2, seconds=5),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "expected"), [(1, 13), (2, 11)])
def test_connections_of_a_process_are_bounded(processes: int, expected: int) -> None:
    idle = processes * IDLE[processes]
    most = idle + processes * (DatabaseConfig().pool_size - 1)
    assert most == processes * expected
    with stage(options=("--workers", str(processes))) as server:
        fill(server)
        eventually(lambda: int(server.ask(CONNECTIONS)) == idle, 30)
        counts, done = list[int](), threading.Event()

        def count() -> None:
            while not done.wait(0.02):
                counts.append(int(server.ask(CONNECTIONS)))

        with ThreadPoolExecutor(1) as threads:
            watched = threads.submit(count)
            run(mixed(server))
            done.set()
            watched.result()
        assert idle < max(counts) <= most


def test_throughput_over_processes_is_measured_where_there_are_cores_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = list[list[int]]()
    for cores in (None, 2, 4, 6, 64):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append([number for number in (2, 4, 8) if len(list(callers(number))) > 1])
    assert found == [[2], [2], [2, 4], [2, 4], [2, 4, 8]]
    assert list(callers(4)) == [("", 32, 32), (", 4 callers each", 16, 4)]
