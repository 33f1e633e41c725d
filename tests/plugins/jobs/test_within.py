"""Jobs that are enqueued within a transaction of the caller."""

import msgspec
import pytest

from kernel.public import JOBS, STATEMENTS, BadRequest, NewJob, NotFound, server_actor
from kernel.testing import running_server
from tests.plugins.jobs.support import ended, install, overrides, row_of
from tests.waiting import eventually


@pytest.fixture(scope="module")
def quiet(postgres, tmp_path_factory):
    """A server that finds jobs by notifications only."""
    folder = tmp_path_factory.mktemp("within")
    with running_server(postgres, overrides(poll_interval=60), data_dir=folder) as server:
        yield server


def job(payload, **more):
    return NewJob(payload=msgspec.Raw(msgspec.json.encode(payload)), **more)


def within(server, work):
    """Run `work(tx, jobs)` in a transaction and return what it returns."""

    async def run():
        jobs = server.services.get(JOBS)
        statements = server.services.get(STATEMENTS)
        return await statements.run(server_actor(), lambda tx: work(tx, jobs))

    return server.run(run)


def count(server, app):
    return server.sql("select count(*) from caudex_jobs.jobs where app_id = %s", app)[0][0]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_job_is_there_and_runs_once_the_transaction_is_in(quiet, key):
    app, seen = install(quiet), []

    async def work(tx, jobs):
        job_id = await jobs.enqueue(server_actor(), app, job(1, key=key), tx)
        seen.append(count(quiet, app))
        return job_id

    job_id = within(quiet, work)
    assert seen == [0]
    assert ended(quiet, app, job_id)["status"] == "completed"


def test_a_job_is_never_there_when_the_transaction_is_undone(quiet):
    app = install(quiet)

    async def work(tx, jobs):
        await jobs.enqueue(server_actor(), app, job(1), tx)
        raise BadRequest("no")

    with pytest.raises(BadRequest):
        within(quiet, work)
    assert count(quiet, app) == 0


def test_a_key_counts_within_a_transaction_as_well(quiet):
    app = install(quiet, running=())

    async def work(tx, jobs):
        return [await jobs.enqueue(server_actor(), app, job(n, key="k"), tx) for n in range(2)]

    first, second = within(quiet, work)
    assert first == second
    assert within(quiet, work) == [first, first]
    eventually(lambda: count(quiet, app) == 1)
    assert row_of(quiet, first, "payload") == (0,)


def test_an_unknown_app_is_refused(quiet):
    async def work(tx, jobs):
        await jobs.enqueue(server_actor(), "nope", job(1), tx)

    with pytest.raises(NotFound):
        within(quiet, work)
