"""The server with workers that the tests of workers have, and one whose login is no superuser."""

import os
from collections.abc import Generator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kernel.testing import Postgres, Server, running_server
from tests.plugins.workers.conftest import workers
from tests.plugins.workers.support import QUICK

__all__ = ["modest", "workers"]


@pytest.fixture(scope="module")
def modest(postgres: Postgres) -> Generator[Server]:
    """A server whose login may make roles and has no other power, as managed services give it."""
    modest = f"caudex_test_modest_{os.getpid()}"
    name = sql.Identifier(modest)
    with psycopg.connect(postgres.url, autocommit=True) as connection:

        def run(statement: LiteralString) -> None:
            connection.execute(sql.SQL(statement).format(name))

        if connection.execute("show is_superuser").fetchone() != ("on",):
            pytest.skip("needs a superuser")
        run("create role {} login createrole password 'x'")
        run("create database {0} owner {0} encoding 'UTF8' template template0")
        dsn = make_conninfo(postgres.url, user=modest, password="x", dbname=modest)
        try:
            with running_server(postgres, {"plugins": {"workers": dict(QUICK)}}, dsn=dsn) as server:
                yield server
        finally:
            run("drop database {} with (force)")
            run("drop role {}")
