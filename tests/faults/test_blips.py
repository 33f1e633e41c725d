"""The database goes away for a moment while jobs run: no job fails by it."""

import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.at_work import Jobs, working
from tests.faults.support import DurablePostgres, Site, no_traceback
from tests.waiting import eventually

pytestmark = pytest.mark.slow

WORKER = """
import time
from caudex_worker import Worker

worker = Worker()

@worker.job
def work(payload, ctx):
    notes = ctx.collection("notes")
    notes.insert({"name": payload["name"]})
    for step in range(40):
        ctx.progress(step)
        notes.find({"name": payload["name"]})
        notes.insert({"name": payload["name"], "revision": step})
        time.sleep(0.05)
    return payload["name"]

worker.run()
"""
WAITING = """
select pid from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'"""


def ten_jobs(site: Site, user: object) -> Jobs:
    jobs = Jobs(site, working(user, WORKER))  # type: ignore[arg-type]
    jobs.put(user, 10)  # type: ignore[arg-type]
    eventually(lambda: jobs.count("running") == 10, 20, jobs.rows)
    return jobs


def check(site: Site, jobs: Jobs) -> None:
    """All ten are completed, without a failure, and none is a suspect."""
    jobs.all_end()
    found = site.sql(
        "select status, failures, worker_crashes, quarantined, error from caudex_jobs.jobs"
        " where app_id = %s",
        jobs.app_id,
    )
    assert set(found) == {("completed", 0, 0, False, None)}


def test_a_backend_that_is_killed_during_writes_fails_no_job(site: Site) -> None:
    with site.serve() as server:
        jobs = ten_jobs(site, site.user(server))
        with psycopg.connect(site.dsn) as holder:
            holder.execute(f"lock table {jobs.app_id}.notes in exclusive mode")
            eventually(lambda: site.sql(WAITING), 5, "no job writes")
            for (pid,) in site.sql(WAITING):
                site.sql("select pg_terminate_backend(%s)", pid)
        check(site, jobs)
    no_traceback(server)


def test_a_restart_of_three_seconds_fails_no_job(
    make_site: Callable[..., Site], durable: DurablePostgres
) -> None:
    site = make_site()
    with site.serve() as server:
        jobs = ten_jobs(site, site.user(server))
        durable.signal(signal.SIGINT)
        time.sleep(3)
        durable.bring_back()
        check(site, jobs)
    no_traceback(server)
