"""A PostgreSQL that goes away, cuts connections, is locked or has none to give."""

import itertools
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

import httpx
import psycopg
import pytest

from kernel.testing.servers import NO_TLS, Client
from tests.faults.support import (
    ROUNDS,
    DurablePostgres,
    Load,
    Site,
    User,
    in_background,
    no_traceback,
    notes,
    pause,
)
from tests.kernel.processes import Served
from tests.waiting import eventually

pytestmark = pytest.mark.slow

_numbers = itertools.count(1)


def timed(url: str) -> tuple[int, float]:
    """The status of a request on a connection of its own, and its seconds."""
    started = time.monotonic()
    return httpx.get(url, timeout=40, verify=NO_TLS).status_code, time.monotonic() - started


def ready(server: Served) -> bool:
    return server.get("/health/ready").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_of_postgresql_is_a_pause(
    site: Site, durable: DurablePostgres, number: int
) -> None:
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        with Load(user, app, readers=4) as load:
            for _ in range(ROUNDS):
                load.more()
                durable.signal(number)
                refused = load.answers[503]
                eventually(lambda: not ready(server), 5, "the loss was not noticed")
                eventually(
                    lambda count=refused: load.answers[503] > count, 10, "nothing was refused"
                )
                assert {timed(f"{server.url}/health")[0] for _ in range(20)} == {200}
                assert user.get(notes(app)).status_code == 503
                durable.bring_back()
                back = time.monotonic()
                eventually(lambda: ready(server), 10, "not ready again")
                load.more()
                assert time.monotonic() - back < 15
        load.check(site.sql)
        assert site.listeners == 1
        assert server.process.poll() is None
        assert set(load.reads) <= {200, 503}
        assert server.end()[0] == 0
    no_traceback(server)


CUT = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()"""


def test_connections_that_are_cut_all_the_time_cost_no_read_and_double_no_write(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        cuts = rounds = 0

        def cut(over: threading.Event) -> None:
            nonlocal cuts, rounds
            with psycopg.connect(site.dsn, autocommit=True) as connection:
                while not over.wait(0.25):
                    rounds += 1
                    [(count,)] = connection.execute(CUT).fetchall()
                    cuts += count

        with Load(user, user.install(), readers=4) as load:
            load.more()
            with in_background(cut):
                eventually(lambda: cuts > 40 * ROUNDS, 60 * ROUNDS, "nothing was cut")
            load.more()
        # Each is tried twice; else several of them would be lost in a round.
        assert load.reads[503] <= rounds, load.reads
        load.check(site.sql)
        assert server.process.poll() is None
    no_traceback(server)


def test_a_pool_that_has_nothing_left_refuses_in_time_and_health_needs_none(
    make_site: Callable[..., Site],
) -> None:
    """Writes of several users and apps take what their shares allow, a quick read the last one."""
    site = make_site(database={"pool_size": 4, "lock_timeout": 35.0, "statement_timeout": 38.0})
    of_the_pool = {"CAUDEX_SERVICES__STATEMENTS": "kernel"}
    with site.serve(env=of_the_pool) as server, ThreadPoolExecutor(204) as pool:
        admin = site.user(server)
        first, second = admin.install(), admin.install()
        writers = [member(site, server, admin, app) for app in (first, first, second)]
        reader = member(site, server, admin, first)

        def call(user: User, method: str, app: str) -> tuple[httpx.Response, float]:
            started = time.monotonic()
            body = {"name": "x"} if method == "POST" else None
            page = {"limit": "5"} if method == "GET" else None  # complete lists wait for turns too
            headers = dict(user.headers)
            with Client(base_url=server.url, headers=headers, timeout=60) as client:
                answer = client.request(method, notes(app), json=body, params=page)
            return answer, time.monotonic() - started

        with psycopg.connect(site.dsn) as holder:
            holder.execute(f"lock table {first}.notes, {second}.notes in access exclusive mode")
            holding = list[Future[tuple[httpx.Response, float]]]()
            for user, app in zip(writers, (first, first, second), strict=True):
                holding.append(pool.submit(call, user, "POST", app))
            holding.append(pool.submit(call, reader, "GET", first))
            eventually(lambda: waiting(site) == 4, 15, "the pool is not held")
            asked = [pool.submit(call, admin, "GET", first) for _ in range(200)]
            calm = []
            while not all(one.done() for one in asked):
                status, seconds = timed(f"{server.url}/health")
                assert status == 200
                calm.append(seconds)
            for answer, seconds in [one.result() for one in asked]:
                assert answer.status_code == 503
                assert answer.headers["retry-after"]
                # 5 in the queue, and 200 clients of our own on top; the lock would be 35.
                assert seconds < 25
            # Not the worst: the first is asked while the 200 are being made.
            assert median(calm) < 3, "health waited for the pool, as the others do for 5 s"
        statuses = [one.result()[0].status_code for one in holding]
        assert statuses == [201, 201, 201, 200]
        assert admin.get(notes(first)).status_code == 200
    no_traceback(server)


def member(site: Site, server: Served, admin: User, app: str) -> User:
    """Make a user who may read and create the notes of an app."""
    user = site.user(server, f"member{next(_numbers)}")
    role = {"name": f"role{next(_numbers)}", "permissions": ["notes.read", "notes.create"]}
    admin.post(f"/api/v1/apps/{app}/roles", json=role).raise_for_status()
    assigned = {"userId": user.id, "role": role["name"]}
    admin.post(f"/api/v1/apps/{app}/roles/assign", json=assigned).raise_for_status()
    return user


def waiting(site: Site) -> int:
    """How many statements wait for a lock."""
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    return site.sql(f"{query} and datname = current_database()")[0][0]


def test_a_locked_table_costs_its_own_callers_a_503_and_no_other(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        locked, free = user.install(), user.install()
        with Load(user, free, writers=2) as others, ThreadPoolExecutor(8) as pool:
            with psycopg.connect(site.dsn) as holder:
                holder.execute(f"lock table {locked}.notes in access exclusive mode")
                began = time.monotonic()
                answers = list(
                    pool.map(lambda _: user.post(notes(locked), json={"name": "x"}), range(8))
                )
                assert {answer.status_code for answer in answers} == {503}
                assert all(answer.headers["retry-after"] for answer in answers)
                assert time.monotonic() - began < 9  # 3 for the lock; 10 has any statement
                assert waiting(site) == 0, "what was given up still waits"
                others.more(5)
            assert user.post(notes(locked), json={"name": "x"}).status_code == 201
        others.check(site.sql)
        assert others.answers[503] == 0
    no_traceback(server)


def test_a_role_is_in_force_at_the_other_server_though_its_listener_is_cut(site: Site) -> None:
    with site.serve() as one, site.serve() as two:
        admin = site.user(one)
        app = admin.install()
        user = site.user(two, "reader")
        roles = f"/api/v1/apps/{app}/roles"
        role = {"name": "reader", "permissions": ["notes.read"]}
        admin.post(roles, json=role).raise_for_status()
        cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        cut += " where application_name = 'caudex notifications' and datname = current_database()"
        for number in range(20 * ROUNDS):
            assigned = number % 2 == 0
            action, status = ("assign", 200) if assigned else ("revoke", 403)
            with in_background(lambda _: (pause(0, 0.03), site.sql(cut))):
                pause(0, 0.06)
                answer = admin.post(f"{roles}/{action}", json={"userId": user.id, "role": "reader"})
                assert answer.status_code == 200, answer.text
            eventually(
                lambda status=status: user.get(notes(app)).status_code == status, 10, two.err
            )
    no_traceback(one, two)
