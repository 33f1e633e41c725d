"""A server without content beside the data, which goes without a trace."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from plugins.postgres import EmbeddedPostgresError, PostgresConfig
from plugins.postgres.binaries import find_binaries
from plugins.postgres.scratch import PREFIX, scratch_server
from tests.plugins.postgres.support import ask, can_connect

CONFIG = PostgresConfig()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{PREFIX}*"))


@pytest.mark.slow
def test_a_scratch_server_is_empty_and_goes_with_its_folder(folder: Path) -> None:
    with scratch_server(folder, CONFIG, find_binaries().major, 1) as dsn:
        assert ask(dsn, "SELECT count(*) FROM pg_stat_user_tables") == 0
        assert len(leftovers(folder)) == 1
        with scratch_server(folder, CONFIG, find_binaries().major, 1):
            assert len(leftovers(folder)) == 2
        assert can_connect(dsn)
    assert not can_connect(dsn)
    assert leftovers(folder) == []


@pytest.mark.slow
def test_what_a_kill_left_is_removed_by_the_next_one(folder: Path) -> None:
    old, new = folder / f"{PREFIX}old", folder / f"{PREFIX}new"
    for left in (old, new):
        left.mkdir()
    os.utime(old, (0, 0))
    with scratch_server(folder, CONFIG, find_binaries().major, 1):
        assert not old.exists()
    assert leftovers(folder) == [new.name]


def test_a_scratch_server_without_room_or_programs_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match="PostgreSQL 9"),
        scratch_server(folder, CONFIG, 9, 1),
    ):
        pass
    usage = SimpleNamespace(free=2_000_000_000)
    monkeypatch.setattr("plugins.postgres.scratch.shutil.disk_usage", lambda _: usage)
    with (
        pytest.raises(EmbeddedPostgresError, match=r"has 2\.0 GB free, not the 2\.1 GB"),
        scratch_server(folder, CONFIG, find_binaries().major, 1_000_000_000),
    ):
        pass
    assert leftovers(folder) == []
