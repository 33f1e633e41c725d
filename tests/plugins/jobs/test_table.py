"""The table: what statements cost however many jobs wait, and how long jobs are kept."""

import json
import os
import uuid

import psycopg
import pytest

from kernel.public import JOBS, STATEMENTS
from kernel.testing import running_server
from tests.plugins.jobs.support import enqueue, install, overrides
from tests.waiting import eventually

MANY = int(os.environ.get("CAUDEX_TEST_MANY_JOBS", "60000"))
"""A million takes half a minute and shows the same."""

FILL = """
with known as (
    insert into caudex_kernel.apps (app_id) values (%(app)s) on conflict do nothing
)
insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, run_at,
    created_at, status, ended_at, payload)
select gen_random_uuid(), %(app)s, %(due)s, n %% 7, 1, 900, now() + %(wait)s::interval,
    now() - n * interval '1 ms', %(status)s,
    case when %(status)s in ('completed', 'failed') then now() - interval '1 hour' end,
    json_build_object('n', n)
from generate_series(1, %(count)s) as n"""


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, overrides(poll_interval=3600)) as running:
        yield running


@pytest.fixture
def connection(server):
    with psycopg.connect(server.dsn) as connection:
        yield connection
        connection.rollback()


def fill(connection, app, count, *, due=True, status="pending", wait="0"):
    connection.execute(
        FILL, {"app": app, "count": count, "due": due, "status": status, "wait": wait}
    )


def pages(connection, statement, *params):
    """Pages of memory that a statement looks at, planned as it is when the table is empty."""
    explain = f"explain (analyze, buffers, format json) {statement}"
    [[plan]] = connection.execute(explain, params, prepare=False).fetchall()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    top = plan[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


def claim(connection, app, free=10, *, idle=True):
    asked = json.dumps([{"app_id": app, "free": free, "idle": idle}])
    return pages(
        connection,
        "select caudex_jobs.claim(%s, %s, interval '30 s', interval '5 s')",
        asked,
        str(uuid.uuid4()),
    )


def every_statement(connection, app):
    """The cost of each statement that runs all the time, at the present size of the table."""
    [[one]] = connection.execute(
        "select id from caudex_jobs.jobs where app_id = %s and status = 'pending' limit 1", [app]
    ).fetchall()
    token = str(uuid.uuid4())
    connection.execute(
        "update caudex_jobs.jobs set status = 'running', due = false, lease_token = %s,"
        " lease_until = now() - interval '1 s' where id = %s",
        [token, one],
    )
    outcome = {
        "id": str(one), "token": token, "status": "completed", "delay": 0, "unstarted": False,
        "failures": 0, "worker_crashes": 0, "quarantined": False, "result": "1", "error": None,
    }  # fmt: skip
    step = {"id": str(one), "token": token, "value": "1"}
    lease = "interval '30 s'"
    found = {
        "claim": claim(connection, app),
        "claim without jobs": claim(connection, "unknown"),
        "claim while busy": claim(connection, app, idle=False),
        "report": pages(connection, "select caudex_jobs.report(%s)", json.dumps([step])),
        "renew": pages(
            connection, f"select caudex_jobs.renew(%s, %s, {lease})", [one], [uuid.UUID(token)]
        ),
        "settle": pages(connection, "select caudex_jobs.settle(%s)", json.dumps([outcome])),
        "expire": pages(connection, "select caudex_jobs.expire(1000, 3, 'x')"),
        "promote_due": pages(connection, "select caudex_jobs.promote_due(1000)"),
        "release": pages(connection, "select caudex_jobs.release(%s)", [uuid.uuid4()]),
    }
    return found


@pytest.mark.slow
def test_statements_cost_the_same_however_many_jobs_wait_or_have_ended(connection):
    app, other = "flat", "other"
    fill(connection, app, 500)
    every_statement(connection, app)  # so that the plans are made, and kept, for a small table
    few = every_statement(connection, app)
    fill(connection, app, MANY)
    fill(connection, other, MANY // 2)
    fill(connection, app, MANY // 4, status="completed")
    many = every_statement(connection, app)
    for name, cost in many.items():
        # Trees are a level or two higher.
        assert cost <= 2 * few[name] + 20, (name, few, many)


@pytest.mark.slow
def test_jobs_for_later_are_not_passed_over_by_claims(connection):
    app = "later"
    fill(connection, app, 500)
    promote = "select caudex_jobs.promote_due(1000)"
    for _ in range(2):
        few = claim(connection, app), pages(connection, promote)
    fill(connection, app, MANY, due=False, wait="1 hour")

    def many() -> bool:
        costs = claim(connection, app), pages(connection, promote)
        return all(cost <= 2 * less + 20 for cost, less in zip(costs, few, strict=True))

    # An analyze meanwhile costs the next one the pages of a new plan, and keeps old index entries.
    eventually(many, 20, few)


def test_outcomes_cost_the_same_however_many_jobs_run(connection):
    apps = [f"app{uuid.uuid4().hex[:8]}" for _ in range(3)]
    for app, count in zip(apps, (10, 20, 5000), strict=True):
        fill(connection, app, count)
    connection.execute("analyze caudex_jobs.jobs")  # while few run, as when a server starts
    settle(connection, running(connection, apps[0]))  # makes the plan, and reads catalogs
    few = settle(connection, running(connection, apps[1])[:10])
    many = settle(connection, running(connection, apps[2])[:10])
    assert many < few + 100


def running(connection, app):
    """Let the jobs of an app run; returns the id and the token of each."""
    token = str(uuid.uuid4())
    rows = connection.execute(
        """update caudex_jobs.jobs set status = 'running', due = false, lease_token = %s,
        lease_until = now() + interval '1 hour' where app_id = %s returning id::text""",
        [token, app],
    )
    return [(job_id, token) for [job_id] in rows.fetchall()]


def settle(connection, jobs):
    outcomes = [
        {
            "id": job_id, "token": token, "status": "completed", "delay": 0, "unstarted": False,
            "failures": 0, "worker_crashes": 0, "quarantined": False, "result": "1", "error": None,
        }
        for job_id, token in jobs
    ]  # fmt: skip
    cost = pages(connection, "select caudex_jobs.settle(%s)", json.dumps(outcomes))
    ids = [job_id for job_id, _ in jobs]
    [[done]] = connection.execute(
        "select count(*) from caudex_jobs.jobs where id = any(%s::uuid[]) and status = 'completed'",
        [ids],
    ).fetchall()
    assert done == len(jobs)
    return cost


def test_where_nothing_waits_for_its_time_no_process_is_asked_to_look_again(connection):
    connection.execute("delete from caudex_jobs.jobs where status = 'pending' and not due")
    [[promoted]] = connection.execute("select caudex_jobs.promote_due(1000)").fetchall()
    assert promoted == {"apps": [], "next": None}


def test_claims_skip_what_another_holds_and_never_exceed_what_is_free(server, connection):
    app = "skipping"
    fill(connection, app, 30)
    connection.commit()
    asked = json.dumps([{"app_id": app, "free": 10, "idle": True}])
    query = "select caudex_jobs.claim(%s, gen_random_uuid(), interval '30 s', interval '5 s')"
    claimed = []
    with psycopg.connect(server.dsn) as second, psycopg.connect(server.dsn) as third:
        for claimer in (connection, second, third):
            rows = claimer.execute(query, [asked]).fetchall()
            claimed.append({row[0]["id"] for row in rows})
            assert len(rows) == 10
        assert len(set.union(*claimed)) == 30
        assert third.execute(query, [asked]).fetchall() == []
        second.rollback()
        third.rollback()


LARGE = """
update caudex_jobs.jobs set payload = to_json(repeat('p', 1000000)),
    result = to_json(repeat('r', %(bytes)s)), progress = to_json(repeat('s', 1000000)),
    error = repeat('e', 50000), status = 'completed', due = false, ended_at = now()
where app_id = %(app)s"""


def test_a_page_that_weighs_too_much_asks_for_a_smaller_one(server, connection):
    """Whatever of a job it is that is large."""
    app = install(server)
    path = f"/api/v1/apps/{app}/jobs"
    fill(connection, app, 6)
    connection.execute(LARGE, {"app": app, "bytes": 1_000_000})
    connection.commit()
    for query in ("", "?limit=6", "?status=completed&limit=1000"):
        answer = server.admin.get(path + query)
        said = {"error": "these jobs have over 16 MB together: ask for fewer by limit"}
        assert (answer.status_code, answer.json()) == (400, said)
    first = server.admin.get(f"{path}?limit=5").json()
    rest = server.admin.get(f"{path}?limit=5&before={first[-1]['id']}").json()
    assert [job["payload"][-1] + job["result"][-1] for job in first + rest] == ["pr"] * 6
    assert len({job["id"] for job in first + rest}) == 6


@pytest.mark.slow
def test_one_job_is_a_page_whatever_it_weighs(server, connection):
    app = install(server)
    fill(connection, app, 1)
    connection.execute(LARGE, {"app": app, "bytes": 20_000_000})
    connection.commit()
    for limit in (1, 1000):
        [job] = server.admin.get(f"/api/v1/apps/{app}/jobs?limit={limit}").json()
        assert len(job["result"]) == 20_000_000


@pytest.mark.parametrize("query", ["", "?status=running", "?status=completed", "?limit=1000"])
def test_a_list_is_as_cheap_among_many(server, query):
    app = install(server)
    path = f"/api/v1/apps/{app}/jobs{query}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        fill(connection, app, 20_000, due=False, wait="1 hour")
        fill(connection, app, 300, status="completed")
        connection.execute("analyze caudex_jobs.jobs")

        def read():
            [[row]] = connection.execute(
                "select idx_tup_fetch + seq_tup_read from pg_stat_user_tables"
                " where schemaname = 'caudex_jobs' and relname = 'jobs'"
            ).fetchall()
            return row

        connection.execute("select pg_stat_force_next_flush()")
        before = read()
        listed = server.admin.get(path).json()
        server.run(flush, server)
        connection.execute("select pg_stat_clear_snapshot()")
        assert read() - before <= 5000
    statuses = {job["status"] for job in listed}
    assert statuses <= {"pending", "completed"}
    made = [job["created_at"] for job in listed]
    assert made == sorted(made, reverse=True)


async def flush(server):
    """Let the connections of the pool write their statistics."""
    for _ in range(12):
        await server.services.get(STATEMENTS).fetch("select pg_stat_force_next_flush()::text")


def test_ended_jobs_are_kept_for_a_while_and_others_for_ever(server):
    app = install(server, running=())
    waiting = enqueue(server, app)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        fill(connection, app, 2500, status="completed")
        connection.execute(
            "update caudex_jobs.jobs set ended_at = now() - interval '15 days',"
            " created_at = now() - interval '20 days' where app_id = %s and ended_at is not null",
            [app],
        )
        fill(connection, app, 5, status="failed")
        connection.execute(
            "update caudex_jobs.jobs set created_at = now() - interval '400 days' where id = %s",
            [waiting],
        )
    store = server.services.get(JOBS)._runs
    portions = [server.run(store.prune, 14) for _ in range(4)]
    assert portions == [1000, 1000, 500, 0]
    left = server.sql(
        "select status, count(*) from caudex_jobs.jobs where app_id = %s group by 1", app
    )
    assert sorted(left) == [("failed", 5), ("pending", 1)]
