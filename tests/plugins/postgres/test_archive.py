"""Base backups and the archived log: a cluster as it was at a time."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from kernel.public import Unavailable
from plugins.postgres import EmbeddedPostgresError, EmbeddedServer, PostgresConfig
from plugins.postgres.archiving.archive import ENDED, Archive, BaseBackups, base_for, remark
from tests.plugins.postgres.support import ask

pytestmark = pytest.mark.slow


def config(folder: Path, **more: object) -> PostgresConfig:
    return PostgresConfig(**{"port": 0, "ephemeral": True, "archive": str(folder / "wal")} | more)


@contextmanager
def archiving(data: Path, settings: PostgresConfig) -> Iterator[EmbeddedServer]:
    """A server with a base backup."""
    with EmbeddedServer(data, settings) as server:
        anyio.run(backups(data, settings).step)
        yield server


def backups(data: Path, settings: PostgresConfig, failed: bytes | None = None) -> BaseBackups:
    async def fetch(_: str) -> bytes | None:
        return failed

    return BaseBackups(data, settings, SimpleNamespace(fetch=fetch))


def write(server: EmbeddedServer, number: int) -> datetime:
    """Insert a row, and return a time after it and before the next one."""
    ask(server.dsn(), f"INSERT INTO kept VALUES ({number})")
    time.sleep(0.1)
    at = datetime.now(UTC)
    time.sleep(0.1)
    return at


def kept(server: EmbeddedServer) -> list[int]:
    return ask(server.dsn(), "SELECT array_agg(number ORDER BY number) FROM kept")


def test_a_cluster_comes_back_as_it_was_at_a_time_and_again(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        write(server, 3)
        before = server.recover(second)
        assert kept(server) == [1, 2]
        assert (before / "PG_VERSION").is_file()
        fourth = write(server, 4)
        write(server, 5)
        server.recover(fourth)
        assert kept(server) == [1, 2, 4]
        server.recover(first)
        assert kept(server) == [1]
        write(server, 6)
    with EmbeddedServer(data, settings) as server:
        assert kept(server) == [1, 6]


def test_a_cluster_that_is_lost_comes_back_from_the_archive(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        at = write(server, 1)
        write(server, 2)
    password = (data / "postgres.password").read_text()
    shutil.rmtree(data)
    with EmbeddedServer(data, settings) as server:
        assert (data / "postgres.password").read_text() != password
        server.recover(at)
        assert kept(server) == [1]
    assert (data / "postgres.password").read_text() == password


def test_a_log_that_was_not_archived_is_taken_from_the_cluster(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        at = write(server, 1)
        write(server, 2)
        keeper = server._keeper
        assert keeper
        assert keeper.postmaster
        keeper.postmaster._process.kill()
        keeper.postmaster._process.wait()
        server.recover(at)
        assert kept(server) == [1]


def test_a_time_that_cannot_be_had_changes_nothing(data: Path, folder: Path) -> None:
    early = datetime.now(UTC)
    settings = config(folder)
    with archiving(data, settings) as server:
        write(server, 1)
        with pytest.raises(EmbeddedPostgresError, match="no base backup before that time"):
            server.recover(early)
        with pytest.raises(EmbeddedPostgresError, match="recovery ended before"):
            server.recover(datetime.now(UTC) + timedelta(hours=1))
        assert kept(server) == [1]
        assert [path.name for path in data.glob("postgres.*-*")] == []
    none = pytest.raises(EmbeddedPostgresError, match="there is no archive")
    with EmbeddedServer(data, config(folder, archive="")) as server, none:
        server.recover(early)


def test_a_restore_that_was_killed_between_its_renames_makes_no_new_cluster(
    data: Path, folder: Path
) -> None:
    (data / "postgres").rename(data / "postgres.before-20260101T000000Z")
    with pytest.raises(EmbeddedPostgresError, match="a restore was interrupted: rename "):
        EmbeddedServer(data, config(folder)).start()
    assert not (data / "postgres").exists()


def test_old_base_backups_go_and_the_log_that_only_they_needed(data: Path, folder: Path) -> None:
    settings = config(folder, archive_keep=1)
    with archiving(data, settings) as server:
        at = write(server, 1)
        [first] = base_folders(folder)
        Path(first).rename(first.with_name((at - timedelta(days=30)).strftime(ENDED)))
        ask(server.dsn(), "SELECT pg_switch_wal()")
        anyio.run(backups(data, settings).step)
        [second] = base_folders(folder)
        oldest = Archive(settings.archive, second.parents[1].name).found()[0].first_segment()
        segments = [path.name for path in (second.parents[1] / "wal").glob("*.gz")]
        assert segments
        assert all(name[8:24] >= oldest for name in segments)
        anyio.run(backups(data, settings).step)
        assert base_folders(folder) == [second]
        assert base_for(settings.archive, datetime.now(UTC)).folder == second


def base_folders(folder: Path) -> list[Path]:
    return sorted((folder / "wal").glob("*/base/*"))


def test_an_archive_that_cannot_be_written_is_reported(data: Path, folder: Path) -> None:
    settings = config(folder)
    with pytest.raises(Unavailable, match="PostgreSQL cannot archive 0001"):
        anyio.run(backups(data, settings, b"0001").step)
    assert remark(settings, lambda _: "0001").state == "fail"
    assert remark(settings, lambda _: None).state == "warn"
    with archiving(data, settings):
        reported = remark(settings, lambda _: None)
    assert reported.state == "ok"
    assert f"any time since {datetime.now(UTC).date()}" in reported.text
