"""What separates two transactions, and which callers cannot hold it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kernel.public import STATEMENTS, Transaction, server_actor
from kernel.testing import MakeServer, Server
from plugins.auth.rules.names import NAMES
from plugins.auth.service import AUTH

PASSWORD = "Str0ngPass!x"


@pytest.fixture
def worker(server: Server) -> Iterator[psycopg.Connection]:
    """A session of a login as the worker of an app has one, which may do nothing here."""
    assert server.admin
    [(role,)] = server.sql("select 'caudex_test_auth' || oid from pg_database"
                           " where datname = current_database()")  # fmt: skip
    server.sql(f"create role {role} login password 'x'")
    try:
        limited = make_conninfo(server.dsn, user=role, password="x")
        with psycopg.connect(limited, autocommit=True) as connection:
            yield connection
    finally:
        server.sql(f"drop role {role}")


def register(server: Server, username: str) -> int:
    body = {"username": username, "password": PASSWORD}
    return server.http.post("/api/v1/auth/register", json=body).status_code


def test_the_login_of_an_app_cannot_keep_names_from_others(
    server: Server, worker: psycopg.Connection
):
    user = server.user()
    worker.execute("select pg_advisory_lock(hashtextextended('auth.names', 0))")
    assert register(server, "beside-a-worker") == 201
    changes = {"email": "beside@example.org"}
    assert server.admin.patch(f"/api/v1/users/{user.id}", json=changes).status_code == 200
    with worker.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute("select from caudex_kernel.locks for update")


def test_who_decides_about_names_does_so_alone_and_is_read_past(make_server: MakeServer):
    server = make_server({"database": {"lock_timeout": 30}})
    server.user()
    store, statements = server.services.get(AUTH).logins._store, server.services.get(STATEMENTS)
    steps: list[str] = []

    async def decide(tx: Transaction) -> None:
        await tx.lock(NAMES)
        steps.append("in")
        assert await store.users()
        await anyio.sleep(0.2)
        steps.append("out")

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(statements.run, server_actor(), decide)

    server.run(both)
    assert steps == ["in", "out"] * 2


def test_a_link_that_an_app_is_just_making_keeps_no_other_from_disabling_the_user(
    make_server: MakeServer,
):
    """The check of a foreign key locks the user's row by the right of the table's owner."""
    server = make_server({"database": {"lock_timeout": 30}})
    user, url = server.user(), "/api/v1/users/"
    with psycopg.connect(server.dsn) as app, ThreadPoolExecutor(1) as pool:
        app.execute("select from caudex_auth.users where id = %s for key share", [user.id])
        assert server.admin.patch(url + user.id, json={"disabled": True}).status_code == 200
        # A key of the row does wait for that, and no other with it.
        changes = {"email": "linked@example.org"}
        waiting = pool.submit(server.admin.patch, url + user.id, json=changes)
        while server.sql("select 1 from pg_locks where not granted") == []:
            assert not waiting.done()
        assert register(server, "beside-a-link") == 201
        assert not waiting.done()
        app.rollback()
        assert waiting.result().status_code == 200
