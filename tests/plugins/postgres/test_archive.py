"""Base backups and the archived log: a cluster as it was at a time."""

import gzip
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import anyio
import pytest

from kernel.public import Finding, Unavailable
from plugins.postgres import EmbeddedPostgresError, EmbeddedServer, PostgresConfig
from plugins.postgres.archiving.archive import Archive
from plugins.postgres.archiving.backups import BaseBackups, examine_archive
from plugins.postgres.archiving.bases import ENDED
from tests.plugins.postgres.support import ask
from tests.waiting import eventually

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


def report(server: EmbeddedServer, settings: PostgresConfig) -> Finding:
    """What `caudex doctor` says, as the role that serves."""
    return examine_archive(settings.archive, lambda query: ask(server.role_dsn(), query))


def write(server: EmbeddedServer, number: int) -> datetime:
    """Insert a row, and return a time after it and before the next one."""
    ask(server.dsn(), f"INSERT INTO kept VALUES ({number})")
    time.sleep(0.1)
    at = datetime.now(UTC)
    time.sleep(0.1)
    return at


def back(server: EmbeddedServer, at: datetime) -> Path | None:
    """Stop the server and restore the cluster as it was at a time, which starts it again."""
    server.stop()
    return server.recover(at).former_folder


def kept(server: EmbeddedServer) -> list[int]:
    return ask(server.dsn(), "SELECT array_agg(number ORDER BY number) FROM kept")


def test_a_cluster_comes_back_as_it_was_at_a_time_and_again(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        write(server, 3)
        before = back(server, second)
        assert kept(server) == [1, 2]
        assert before
        assert (before / "PG_VERSION").is_file()
        fourth = write(server, 4)
        write(server, 5)
        back(server, fourth)
        assert kept(server) == [1, 2, 4]
        back(server, first)
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
    server = EmbeddedServer(data, settings)
    try:
        assert server.recover(at).former_folder is None
        assert kept(server) == [1]
        assert ask(server.role_dsn(), "SELECT current_user") == "caudex"
        assert password not in server.dsn()
    finally:
        server.stop()
    with EmbeddedServer(data, settings) as again:
        assert kept(again) == [1]


def _without_start_of_log(data: Path) -> None:
    (data / "postgres" / "pg_xact" / "0000").unlink()
    for segment in (data / "postgres" / "pg_wal").glob("0*"):
        segment.write_bytes(b"")


def _without_control(data: Path) -> None:
    (data / "postgres" / "global" / "pg_control").write_bytes(b"cut")


def _without_version(data: Path) -> None:
    (data / "postgres" / "PG_VERSION").write_text("")


@pytest.mark.parametrize("damage", [_without_start_of_log, _without_control, _without_version])
def test_a_cluster_that_does_not_start_is_replaced_from_the_archive(
    data: Path, folder: Path, damage: Callable[[Path], None]
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        at = write(server, 1)
        write(server, 2)
        ask(server.dsn(), "SELECT pg_switch_wal()")
    damage(data)
    with pytest.raises(EmbeddedPostgresError):
        EmbeddedServer(data, settings).start()
    server = EmbeddedServer(data, settings)
    try:
        before = server.recover(at).former_folder
        assert before
        assert before.is_dir()
        assert kept(server) == [1]
    finally:
        server.stop()


def test_a_log_that_was_not_archived_is_taken_from_a_damaged_cluster(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        at = write(server, 1)
        write(server, 2)
        assert server._keeper
        assert server._keeper.postmaster
        server._keeper.postmaster._process.kill()
        server._keeper.postmaster._process.wait()
        server.stop()
        _without_control(data)
        server.recover(at)
        assert kept(server) == [1]


def test_a_damaged_base_backup_is_named_and_changes_nothing(data: Path, folder: Path) -> None:
    with archiving(data, config(folder)) as server:
        at = write(server, 1)
    [base] = base_folders(folder)
    whole = (base / "base.tar.gz").read_bytes()
    (base / "base.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EmbeddedPostgresError, match=f"the base backup {base} is damaged"):
        EmbeddedServer(data, config(folder)).recover(at)
    with EmbeddedServer(data, config(folder)) as server:
        assert kept(server) == [1]


def test_only_the_account_reads_the_archive_and_no_password_is_in_it(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings):
        [base] = base_folders(folder)
        (base / "password").write_text("of an earlier version")
    with EmbeddedServer(data, settings) as server:
        assert not (base / "password").exists()
        write(server, 1)
        role = urlsplit(server.role_dsn()).password
        ask(server.dsn(), "SELECT pg_switch_wal()")
        wal = base_folders(folder)[0].parents[1] / "wal"
        eventually(lambda: list(wal.glob("*.gz")), 20)
    passwords = [(data / "postgres.password").read_bytes(), (role or "").encode()]
    assert all(passwords)
    paths = [path for path in (folder / "wal").rglob("*") if path.is_file()]
    assert {path.name for path in paths} >= {"base.tar.gz", "backup_manifest"}
    for path in paths:
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o077) in [
            (0o600, 0), (0o600, 0o011),
        ], path  # fmt: skip
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert not any(password in content for password in passwords), path
    for shut in (wal, base_folders(folder)[0].parent):
        assert shut.stat().st_mode & 0o777 == 0o700


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
        back(server, at)
        assert kept(server) == [1]


def test_a_time_that_cannot_be_had_changes_nothing(data: Path, folder: Path) -> None:
    early = datetime.now(UTC)
    settings = config(folder)
    with archiving(data, settings) as server:
        write(server, 1)
        with pytest.raises(EmbeddedPostgresError, match="no base backup before that time"):
            back(server, early)
        server.start()
        assert kept(server) == [1]
        assert [path.name for path in data.glob("postgres.*-*")] == []
    with EmbeddedServer(data, settings), pytest.raises(EmbeddedPostgresError, match="in use by"):
        EmbeddedServer(data, settings).recover(datetime.now(UTC))
    with pytest.raises(EmbeddedPostgresError, match="there is no archive"):
        EmbeddedServer(data, config(folder, archive="")).recover(early)


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
        archive = Archive(settings.archive, second.parents[1].name)
        [oldest] = [base.first_segment() for base in archive.base_backups()]
        segments = [path.name for path in (second.parents[1] / "wal").glob("*.gz")]
        assert segments
        assert all(name[8:24] >= oldest for name in segments)
        anyio.run(backups(data, settings).step)
        assert base_folders(folder) == [second]


def base_folders(folder: Path) -> list[Path]:
    return sorted((folder / "wal").glob("*/base/*"))


def test_an_archive_that_cannot_be_written_is_reported(data: Path, folder: Path) -> None:
    settings = config(folder)
    with pytest.raises(Unavailable, match="PostgreSQL cannot archive 0001"):
        anyio.run(backups(data, settings, b"0001").step)
    assert examine_archive(settings.archive, lambda _: "0001").state == "fail"
    with EmbeddedServer(data, settings) as server:
        assert report(server, settings).state == "warn"
    with archiving(data, settings) as server:
        reported = report(server, settings)
    assert reported.state == "ok"
    assert f"any time since {datetime.now(UTC).date()}" in reported.text


def test_a_time_that_only_a_left_branch_has_is_refused_and_changes_nothing(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        back(server, first)
        third = write(server, 3)
        with pytest.raises(
            EmbeddedPostgresError, match=r"was left \(timeline 1 from .* can be rest"
        ):
            back(server, second)
        server.start()
        assert kept(server) == [1, 3]
        write(server, 4)
        back(server, third)
        assert kept(server) == [1, 3]


def test_a_former_cluster_that_was_put_back_can_be_restored(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        before = back(server, first)
        other = write(server, 3)
        server.stop()
        (data / "postgres").rename(data / "postgres.other")
        assert before
        before.rename(data / "postgres")
        server.start()
        assert kept(server) == [1, 2]
        reported = report(server, settings)
        assert reported.state == "warn"
        assert "no base backup of the current branch yet" in reported.text
        anyio.run(backups(data, settings).step)
        reported = report(server, settings)
        assert reported.state == "ok"
        assert "a restore left timeline 2 from " in reported.text
        assert len(base_folders(folder)) == 2
        fourth = write(server, 4)
        write(server, 5)
        with pytest.raises(EmbeddedPostgresError, match=r"was left \(timeline 2 from "):
            back(server, other)
        back(server, fourth)
        assert kept(server) == [1, 2, 4]
        back(server, second)
        assert kept(server) == [1, 2]


def test_a_former_cluster_that_was_put_back_and_never_started_is_the_current_one(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        before = back(server, first)
        other = write(server, 3)
        server.stop()
        (data / "postgres").rename(data / "postgres.other")
        assert before
        before.rename(data / "postgres")
        with pytest.raises(EmbeddedPostgresError, match=r"was left \(timeline 2 from "):
            back(server, other)
        back(server, second)
        assert kept(server) == [1, 2]


def test_a_time_after_the_last_change_is_restored_if_no_log_is_lost(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        write(server, 1)
        quiet = write(server, 2)
        back(server, quiet)
        assert kept(server) == [1, 2]
        shutil.rmtree(data)
        server.stop()
        with pytest.raises(EmbeddedPostgresError, match="the log ends before") as caught:
            server.recover(datetime.now(UTC))
        last = datetime.fromisoformat(str(caught.value).rpartition(" ")[2])
        assert server.recover(last).last_time == last
        assert kept(server) == [1, 2]


def test_a_base_backup_follows_a_restore_and_pushes_out_no_other(data: Path, folder: Path) -> None:
    settings = config(folder, archive_keep=1)
    with archiving(data, settings) as server:
        first = write(server, 1)
        second = write(server, 2)
        back(server, second)
        assert kept(server) == [1, 2]
        for _ in range(2):
            anyio.run(backups(data, settings).step)
            assert len(base_folders(folder)) == 2
        write(server, 3)
        back(server, first)
        assert kept(server) == [1]


def test_a_base_backup_follows_a_gap_in_the_log(data: Path, folder: Path) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        for number in range(3):
            write(server, number)
            ask(server.dsn(), "SELECT pg_switch_wal()")
        [base] = base_folders(folder)
        wal = base.parents[1] / "wal"
        segments = eventually(lambda: len(files := segments_in(wal)) > 3 and files, 20)
        segments[-2].unlink()
        assert report(server, settings).state == "warn"
        anyio.run(backups(data, settings).step)
        assert len(base_folders(folder)) == 2
        assert " and since " in report(server, settings).text


def segments_in(wal: Path) -> list[Path]:
    return sorted(file for file in wal.glob("*.gz") if len(file.name) == len("0" * 24 + ".gz"))


def test_an_archive_of_an_earlier_version_has_the_branch_of_its_base_backups(
    data: Path, folder: Path
) -> None:
    settings = config(folder)
    with archiving(data, settings) as server:
        first = write(server, 1)
        write(server, 2)
        [base] = base_folders(folder)
        (base.parents[1] / "branches.json").unlink()
        assert report(server, settings).state == "ok"
        back(server, first)
        assert kept(server) == [1]
        assert report(server, settings).text.count("a restore left timeline 1 from ") == 1
