"""Backups of a database that has readers: they come back without a login, and are renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from kernel.testing import Postgres, Server
from plugins.app_logins.readers.models import Bounds, NewReader
from plugins.app_logins.readers.service import READERS
from tests.plugins.backup.support import caudex, filled

__all__ = ["caudex"]
pytestmark = pytest.mark.slow
BOUNDS = Bounds(connections=2, timeout=60)
NOTES = {"bi": "select body from notes", "bi_views": "select * from notes"}


def make(server: Server, name: str) -> NewReader:
    return server.run(
        lambda: server.services.get(READERS).create(
            name, "crm", BOUNDS, views=name.endswith("views")
        )
    )


def count(url: str, query: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        return len(connection.execute(query).fetchall())  # type: ignore[arg-type]


def test_readers_come_back_and_are_renewed(
    make_server: Any, postgres: Postgres, tmp_path: Path, caudex: Any
):
    server = filled(make_server, tmp_path / "one")
    readers = {name: make(server, name) for name in NOTES}
    before = {name: reader.address.url for name, reader in readers.items()}
    assert [count(before[name], query) for name, query in NOTES.items()] == [20, 20]
    file = tmp_path / "all.backup"
    words = ("backup", str(file), "--with-keys", "--verify")
    assert "wrote" in caudex(server.dsn, *words, data_dir=tmp_path / "one")

    dsn = postgres.create()
    folder = tmp_path / "two"
    caudex(dsn, "restore", str(file), data_dir=folder)
    again = make_server(dsn=dsn, data_dir=folder)
    said = caudex(dsn, "sql-reader", "--list", data_dir=folder)
    rows = [line for line in said.splitlines() if line.startswith("bi")]
    assert len(rows) == 2
    assert all("no login, renew it" in row for row in rows)
    for name, query in NOTES.items():
        renewed: NewReader = again.run(
            lambda name=name: again.services.get(READERS).renew(name, BOUNDS)
        )
        assert count(renewed.address.url, query) == 20
        old, new = urlsplit(before[name]), urlsplit(renewed.address.url)
        assert old.username != new.username
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            count(
                before[name].replace(old.path, new.path),
                f"select from {readers[name].schema}.notes",
            )
        assert count(before[name], query) == 20  # the first server's own readers go on
    for name in NOTES:
        again.run(lambda name=name: again.services.get(READERS).revoke(name))
    again.stop()
    postgres.drop(dsn)
