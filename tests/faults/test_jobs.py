"""Jobs outlast servers, workers and PostgreSQL: each one that was accepted ends."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.faults.at_work import Jobs, call, deploy, kill, runs, working
from tests.faults.support import ROUNDS, DurablePostgres, Site, no_traceback, pause
from tests.kernel.processes import alive
from tests.waiting import eventually

pytestmark = pytest.mark.slow

QUICK = {"plugins__jobs": {"lease": 2.0}, "plugins__workers": {"backoff": 0.1}}
STEADY = {**QUICK, "plugins__jobs": {"lease": 6.0}}
"""A longer lease: no server may lose a job because its disk paused for a moment."""


def test_jobs_outlast_servers_that_are_killed(make_site: Callable[..., Site]) -> None:
    site = make_site(**QUICK)
    jobs: Jobs | None = None
    for _ in range(5 * ROUNDS):
        with site.serve() as server:
            user = site.user(server)
            jobs = jobs or Jobs(site, working(user))
            runs(user, jobs.app_id)
            jobs.put(user, 39, seconds=0.2)
            jobs.put(user, 1, seconds=1.5)  # long enough to be seen by a slow test
            jobs.begin()
            pause(0, 0.3)
            below = kill(server)
            eventually(lambda below=below: not alive(below), 5, "a worker was left over")
    assert jobs is not None
    with site.serve() as server:
        jobs.all_end()
        jobs.check()
        assert any(attempts > 1 for _, attempts in jobs.rows().values()), "nothing was interrupted"
        assert server.end()[0] == 0
    no_traceback(server)


def test_a_lost_job_runs_again_soon_after_its_lease(make_site: Callable[..., Site]) -> None:
    lease = 30.0 if ROUNDS > 1 else 5.0
    site = make_site(plugins__jobs={"lease": lease})
    with site.serve() as server:
        user = site.user(server)
        jobs = Jobs(site, working(user))
        jobs.put(user, 3, seconds=3)  # all of them still run when a slow test kills the server
        eventually(lambda: jobs.count("running") == 3, 20, jobs.rows)
        kill(server)
    with site.serve() as server:
        jobs.all_end(lease + 15 + 3 * 3)
        jobs.check()
        assert set(jobs.rows().values()) == {("completed", 2)}
        assert server.end()[0] == 0


def test_a_job_is_not_to_blame_for_servers_that_are_killed(make_site: Callable[..., Site]) -> None:
    site = make_site(plugins__jobs={"lease": 1.0})
    jobs: Jobs | None = None
    begun = 0
    for _ in range(5):
        with site.serve() as server:
            user = site.user(server)
            if jobs is None:
                jobs = Jobs(site, working(user))
                jobs.put(user, 1, seconds=4)

            def runs_again(before: int = begun, jobs: Jobs = jobs) -> bool:
                [(status, attempts)] = jobs.rows().values()
                return status == "running" and attempts > before

            # Not always one more: a server that pauses loses its lease, and claims the job again.
            eventually(runs_again, 20, jobs.rows)
            kill(server)
            [(_, begun)] = jobs.rows().values()
    assert jobs is not None
    with site.serve() as server:
        jobs.all_end(20)
        jobs.check()
        assert server.end()[0] == 0


def test_a_worker_that_dies_costs_its_jobs_a_retry_and_others_nothing(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(**STEADY)
    with site.serve() as server:
        user = site.user(server)
        other = Jobs(site, working(user))
        for _ in range(ROUNDS):
            harmed = Jobs(site, working(user))  # the fifth crash in a minute would be its last
            other.put(user, 20)
            harmed.put(user, 1, dies=True)
            harmed.put(user, 9, seconds=0.5)
            harmed.put(user, 1, seconds=1.5)  # long enough to be seen by a slow test
            harmed.begin()
            harmed.all_end()
            runs(user, harmed.app_id)
            harmed.put(user, 4, seconds=1)
            harmed.put(user, 1, seconds=2)
            harmed.begin()
            os.kill(call(user, harmed.app_id, "pid"), signal.SIGKILL)
            harmed.all_end()
            harmed.check()
        other.all_end()
        other.check(once=True)
        assert server.end()[0] == 0
    no_traceback(server)


def test_each_job_runs_on_one_of_two_servers_and_one_goes_on_alone(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(**STEADY)
    with site.serve() as one:
        user = site.user(one)
        jobs = Jobs(site, working(user))
        with site.serve() as two:
            other = site.user(two)
            eventually(lambda: replicas(site, jobs.app_id) == 2, 30, "the second does not run it")
            for _ in range(5):
                jobs.put(user, 20, seconds=0.02)
                jobs.put(other, 20, seconds=0.02)
            jobs.all_end()
            jobs.check(once=True)
            jobs.put(user, 40, seconds=1.5)
            # Ten at once is the most that one takes, and there is enough for two turns of both.
            eventually(lambda: jobs.count("running") > 10, 20, jobs.rows)
            kill(two)
            jobs.all_end(60)
            jobs.check()
        assert one.end()[0] == 0
    no_traceback(one, two)


def replicas(site: Site, app_id: str) -> int:
    query = "select count(*) from caudex_workers.replicas where app_id = %s and state = 'running'"
    return site.sql(query, app_id)[0][0]


def test_jobs_go_on_when_postgresql_is_back(site: Site, durable: DurablePostgres) -> None:
    with site.serve() as server:
        user = site.user(server)
        jobs = Jobs(site, working(user))
        for number in (signal.SIGINT, signal.SIGQUIT):
            # What a handler meets while PostgreSQL is away is its own error, to be tried again.
            jobs.put(user, 29, max_attempts=8, seconds=0.5)
            jobs.put(user, 1, max_attempts=8, seconds=2)  # long enough to be seen by a slow test
            jobs.begin()
            durable.signal(number)
            eventually(lambda: server.get("/health/ready").status_code == 503, 10, "not noticed")
            durable.bring_back()
            jobs.all_end(45)
        jobs.put(user, 5)
        jobs.all_end(10)
        jobs.check()
        assert server.end()[0] == 0
    no_traceback(server)


def test_a_server_that_ends_gives_its_jobs_back(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        jobs = Jobs(site, working(user))
        jobs.put(user, 10, seconds=5)
        jobs.put(user, 20, seconds=0.1)
        eventually(lambda: jobs.count("running") == 10, 20, jobs.rows)
        status, seconds = server.end()
        assert status == 0
        assert seconds < 30
        assert jobs.count("running") == 0
    with site.serve() as server:
        jobs.all_end(20)
        jobs.check(once=True)
        assert server.end()[0] == 0
    no_traceback(server)


def test_a_deploy_takes_no_job_with_it(make_site: Callable[..., Site]) -> None:
    site = make_site(**QUICK)
    with site.serve() as server:
        user = site.user(server)
        jobs = Jobs(site, working(user))
        for _ in range(2 * ROUNDS):
            jobs.put(user, 19, seconds=0.8)
            jobs.put(user, 1, seconds=2)  # long enough to be seen by a slow test
            jobs.begin()
            assert deploy(user, jobs.app_id).status_code == 200
        jobs.all_end()
        jobs.check()
        assert server.end()[0] == 0
    no_traceback(server)
