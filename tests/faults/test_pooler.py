"""PgBouncer in transaction mode between the server and PostgreSQL."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from plugins.postgres.account import server_account
from plugins.postgres.state import choose_port
from tests.faults.at_work import Jobs, call, deploy
from tests.faults.support import DurablePostgres, Load, Site, ask, no_traceback, notes
from tests.waiting import eventually

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian: pgbouncer)"),
]

CONFIG = """
[databases]
* = host={folder} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = options,extra_float_digits
"""
WORKER = """
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def address(params, ctx):
    return ctx.database_url

@worker.job
def work(payload, ctx):
    ctx.collection("notes").insert({"name": payload["name"]})

worker.run()
"""


@contextmanager
def pooled(folder: Path, dsn: str) -> Generator[str]:
    """Run PgBouncer before a database and return the database's DSN through it."""
    parts, port = conninfo_to_dict(dsn), choose_port(0, strict=False)
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{parts["user"]}" "{parts["password"]}"\n')
    place = {"folder": parts["host"], "server_port": parts["port"], "port": port, "users": users}
    config.write_text(CONFIG.format(**place))
    account = server_account(folder / "none")  # of no cluster yet
    assert PROGRAM is not None
    ids = (account.uid, account.gid, []) if account.switch else (None, None, None)
    process = subprocess.Popen(
        [PROGRAM, "-q", config],
        user=ids[0],
        group=ids[1],
        extra_groups=ids[2],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    login = f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:{port}"
    url = f"{login}/{parts['dbname']}"
    try:
        eventually(lambda: answers(url), 10, "PgBouncer does not answer")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def answers(url: str) -> bool:
    try:
        return ask(url, "select 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def test_everything_works_behind_a_pooler_in_transaction_mode(
    folders: Callable[[], Path], durable: DurablePostgres
) -> None:
    dsn = durable.create()
    with pooled(folders(), dsn) as url:
        database = {"url": url, "direct_url": dsn, "prepare": False}
        site = Site(folders(), dsn, database=database)
        with site, site.serve() as one, site.serve() as two:
            user, reader = site.user(one), site.user(two, "reader")
            app, other = user.install(), user.install()
            assert (done := deploy(user, app, WORKER)).status_code == 200, done.text
            with Load(user, other, writers=4, readers=2) as load:
                load.more(40)
                jobs = Jobs(site, app)
                jobs.put(user, 10)
                roles = f"/api/v1/apps/{app}/roles"
                role = {"name": "r", "permissions": ["notes.read"]}
                user.post(roles, json=role).raise_for_status()
                assert reader.get(notes(app)).status_code == 403
                body = {"userId": reader.id, "role": "r"}
                user.post(f"{roles}/assign", json=body).raise_for_status()
                eventually(lambda: reader.get(notes(app)).status_code == 200, 5)
                jobs.all_end()
                load.more(20)
            load.check(site.sql)
            jobs.check(once=True)
            # A worker has a session of its own.
            assert ask(call(user, app, "address"), "select 1") == [(1,)]
            # Settings of one transaction are not those of the next one on the same connection.
            actors = "select distinct actor_id::text from caudex_audit.log where table_schema = %s"
            assert site.sql(actors, other) == [(user.id,)]
            assert site.listeners == 2
    no_traceback(one, two)
