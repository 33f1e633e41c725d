"""After a restore no position of before is believed: the database has another history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import MakeServer, Postgres
from tests.plugins.backup.support import caudex

from .conftest import prepare
from .support import create, follow

__all__ = ["caudex"]

pytestmark = pytest.mark.slow


def test_a_position_from_before_a_restore_asks_for_a_new_list(
    make_server: MakeServer, postgres: Postgres, tmp_path: Path, caudex: Callable[..., Any]
) -> None:
    server = make_server(data_dir=tmp_path / "one")
    prepare(server)
    create(server.admin, title="in the backup")
    with follow(server.admin).wait_ready() as stream:
        early = stream.last_id
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    create(server.admin, title="lost")
    with follow(server.admin).wait_ready() as stream:
        late = stream.last_id

    dsn = postgres.create()
    caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    restored = make_server(dsn=dsn, data_dir=tmp_path / "two")
    admin = restored.login("admin")
    for position in (early, late):
        with follow(admin, since=position).wait_ready() as stream:
            resync, ready = stream.events
            assert (resync.name, resync.data) == ("resync", {"reason": "restored"})
            assert resync.id == ready.id
            record = create(admin, title="after the restore")
            assert stream.changes(1) == [("enter", record)]
    restored.stop()
    postgres.drop(dsn)
