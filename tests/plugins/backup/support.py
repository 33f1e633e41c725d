"""What the tests of backups share."""

import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.testing import Server
from tests.kernel.here import caudex_here

MANIFEST = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "body", "type": "text"}]}],
}


def command(*words, data_dir):
    return [sys.executable, "-m", "kernel", *words, "--data-dir", str(data_dir)]


def environment(home, dsn, more=None):
    here = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    return {**here, "CAUDEX_DATABASE__URL": dsn, "TMPDIR": str(home), **(more or {})}


@pytest.fixture
def caudex(tmp_path):
    def run(dsn, *words, data_dir, status=0, env=None):
        # A cluster for each backup takes two seconds: tests of it say --verify.
        if words[0] == "backup" and not {"verify", "--verify"}.intersection(words):
            words = (*words, "--no-verify")
        ended = caudex_here(
            *words, "--data-dir", str(data_dir), cwd=tmp_path, env=environment(tmp_path, dsn, env)
        )
        assert ended.status == status, ended.out + ended.err
        assert "Traceback" not in ended.err
        return ended.out + ended.err

    return run


def filled(make_server: Any, data_dir: Path) -> Server:
    server = make_server(data_dir=data_dir)
    server.admin.post("/api/v1/apps", json=MANIFEST).raise_for_status()
    path = "/api/v1/apps/crm/collections/notes"
    for number in range(20):
        server.admin.post(path, json={"body": f"note {number}"}).raise_for_status()
    secret = {"key": "TOKEN", "value": "x"}
    server.admin.post("/api/v1/apps/crm/secrets", json=secret).raise_for_status()
    return server


def line(said):
    """The one line that a mistake is answered by."""
    # The server of the test logs to the same place.
    [found] = [each for each in said.splitlines() if not each.startswith("{")]
    assert found.startswith("caudex: ")
    return found


@contextmanager
def login(dsn, *, owner=False):
    """A login that may do nothing, or owns the database; its DSN."""
    name, database = f"login_{secrets.token_hex(4)}", conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create role {name} login password 'secret'")
        try:
            if owner:
                connection.execute(f"alter database {database} owner to {name}")
            yield make_conninfo(dsn, user=name, password="secret")
        finally:
            connection.execute(f"alter database {database} owner to current_user")
            connection.execute(f"drop owned by {name}")
            connection.execute(f"drop role {name}")
