"""Restores a cluster as it was at a time: a base backup, and the log that follows it.

The cluster that is replaced need not be able to start, or be there at all. The archive has no
password: the restored cluster gets that of the data folder, over a socket that only the account of
PostgreSQL and root reach.
"""

import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from kernel.public import sync_folder, write_file
from plugins.postgres.config import EmbeddedPostgresError
from plugins.postgres.layout import SUPERUSER, Layout
from plugins.postgres.postmaster import Plan, Postmaster
from plugins.postgres.processes import INIT_CLUSTER, INIT_PREFIX, remove_lock_files
from plugins.postgres.state import choose_socket_dir, remove_socket_dir

from .archive import Archive, list_archives
from .bases import Base
from .branches import Branch
from .control import Control

BEFORE = "postgres.before-"
LOCAL_ONLY = "local all all trust\n"
# What PostgreSQL says where the log has no transaction after the time.
ENDED_EARLY = "recovery ended before configured recovery target was reached"
_REACHED = """
select pg_last_xact_replay_timestamp(), pg_last_wal_replay_lsn() - '0/0'::pg_lsn,
    pg_walfile_name(pg_current_wal_insert_lsn())"""
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """A time to restore: on which timeline, and from which base backup.

    `log_end` is the last record of the replaced cluster where that was shut down in order.
    """

    at: datetime
    archive: Archive
    base: Base
    timeline: int
    log_end: int | None


class Reached(NamedTuple):
    """What a recovery came to: the time of the last transaction that it replayed, if any, the end
    of the log that it read, and the timeline that it began."""

    last_time: datetime | None
    log_end: int
    timeline: int


class Restored(NamedTuple):
    """The time of the last transaction of a restored cluster, if any was replayed, and the folder
    that the replaced one has now, if there was one."""

    last_time: datetime | None
    former_folder: Path | None


def select_target(root: str, at: datetime, cluster: Path, control: Control | None) -> Target:
    """Choose what a time is restored from: `control` is that of the cluster that is replaced, if
    it can be read. Raises EmbeddedPostgresError with the times that can be restored."""
    archive = _select_archive(root, at, control)
    current_timeline = None
    log_end = None
    if control is not None and control.system == archive.folder.name:
        current_timeline = control.timeline
        if control.shut_down:
            log_end = control.checkpoint

    lineage = archive.lineage(current_timeline, cluster)
    ended = lineage.select_base(at)
    base = next(base for base in archive.base_backups() if base.ended == ended)
    # PostgreSQL stops on an ancestor of this timeline where the time is one of that.
    timeline = lineage.branches[-1].timeline
    return Target(at, archive, base, timeline, log_end)


def _select_archive(root: str, at: datetime, control: Control | None) -> Archive:
    """Choose the cluster that served at a time: the current one, if it did, or the last one."""
    archives = list_archives(root)
    if not archives:
        raise EmbeddedPostgresError(f"the archive {root} has no base backup")
    serving = [archive for archive in archives if _find_begin(archive, at)] or archives
    for archive in serving:
        if control and archive.folder.name == control.system:
            return archive
    return max(serving, key=lambda archive: _find_begin(archive, at) or _NEVER)


def _find_begin(archive: Archive, at: datetime) -> datetime | None:
    """Return when the last branch before a time began."""
    begins = [branch.since for branch in archive.branches() if branch.since <= at]
    return max(begins, default=None)


@dataclass(frozen=True)
class Recovery:
    """A cluster that is made beside the current one."""

    plan: Plan
    target: Target
    cluster: Path

    def replay(self, report: Callable[[str], None]) -> Reached:
        """Replay the log up to the time. Raises EmbeddedPostgresError where it ends before."""
        at = self.target.at
        settings = self.target.archive.recovery_settings(self.target.timeline)
        stop = {"recovery_target_time": at.astimezone(UTC).isoformat(sep=" ")}
        try:
            reached = self._run(settings | stop, report)
        except EmbeddedPostgresError as error:
            if ENDED_EARLY not in str(error):
                raise
            # It goes on where it was.
            reached = self._run(settings, report)
            self._require_end_of_log(reached)
        if reached.last_time and reached.last_time > at:
            raise EmbeddedPostgresError(
                f"the recovery went beyond {at.isoformat()}, to {reached.last_time.isoformat()}"
            )
        return reached

    def _require_end_of_log(self, reached: Reached) -> None:
        """Refuse a time after the last transaction, unless none was lost: the replaced cluster was
        shut down, and its log is there to the end."""
        target = self.target
        if target.log_end is not None and reached.log_end > target.log_end:
            return
        last_time = reached.last_time or target.base.ended
        if target.at > last_time:
            raise EmbeddedPostgresError(
                f"the log ends before {target.at.isoformat()}: its last transaction, and the last "
                f"time that can be restored, is of {last_time.isoformat()}"
            )

    def _run(self, settings: Mapping[str, str], report: Callable[[str], None]) -> Reached:
        """Run the new cluster until it has replayed the log, and shut it down."""
        layout = Layout(self.plan.layout.data_dir)
        layout.pgdata = self.cluster
        hba = {"hba_file": str(self.cluster.with_name("hba.conf"))}
        socket_dir = choose_socket_dir(self.cluster, self.plan.account)
        plan = replace(
            self.plan,
            layout=layout,
            settings={**self.plan.settings, **settings, **hba},
            socket_dir=socket_dir,
        )
        server = Postmaster(plan)
        try:
            server.wait_ready(report)
            return _read_reached(plan)
        finally:
            server.stop(300.0)
            remove_lock_files(self.cluster)
            remove_socket_dir(socket_dir)


def recover(plan: Plan, target: Target, report: Callable[[str], None]) -> Restored:
    """Put a cluster of a former time in place of the one that has stopped.

    Nothing changes before the new one is complete. Raises EmbeddedPostgresError.
    """
    layout = plan.layout
    workshop = Path(tempfile.mkdtemp(prefix=INIT_PREFIX, dir=layout.data_dir))
    if plan.account.switch:
        workshop.chmod(0o711)  # its account has to pass
    try:
        cluster = workshop / INIT_CLUSTER
        _unpack(plan, target, cluster)
        if not layout.password.exists():
            write_file(layout.password, secrets.token_urlsafe(24).encode())
        reached = Recovery(plan, target, cluster).replay(report)
        _begin_branch(plan, target, cluster, reached)
        return Restored(reached.last_time, _swap(layout, cluster))
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _begin_branch(plan: Plan, target: Target, cluster: Path, reached: Reached) -> None:
    """Write the new timeline into the archive before it serves.

    After a kill the replaced cluster serves again, which begins a branch, too.
    """
    archive = target.archive
    archive.put_history(cluster / "pg_wal" / f"{reached.timeline:08X}.history", plan.account)
    archive.serve(target.timeline, plan.layout.pgdata)
    branch = Branch(
        timeline=reached.timeline, since=datetime.now(UTC), parent=target.timeline, as_of=target.at
    )
    archive.add_branch(branch)


def _unpack(plan: Plan, target: Target, cluster: Path) -> None:
    cluster.mkdir()
    with target.base.open_files() as tar:
        tar.extractall(cluster, filter="data")
    _copy_log(plan.layout.pgdata, target.archive, cluster / "pg_wal")
    (cluster / "recovery.signal").touch()
    for path in (cluster, *cluster.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        plan.account.take_over(path)
    hba = cluster.with_name("hba.conf")
    hba.write_text(LOCAL_ONLY)
    plan.account.take_over(hba)


def _copy_log(former: Path, archive: Archive, wal: Path) -> None:
    """Copy segments that the former cluster had no time to archive, where they can be read."""
    wal.mkdir(exist_ok=True)
    with suppress(OSError):  # what the archive has is all there is
        for path in (former / "pg_wal").iterdir():
            if not _SEGMENT.fullmatch(path.name):
                continue
            is_archived = (archive.wal / f"{path.name}.gz").exists()
            if not is_archived and _system_of(path) == archive.folder.name:
                shutil.copyfile(path, wal / path.name)


def _system_of(segment: Path) -> str:
    """Return the identifier of the cluster that wrote a segment: the `xlp_sysid` of its head.

    `pg_control` has it too, but may be what is damaged.
    """
    with segment.open("rb") as file:
        return str(int.from_bytes(file.read(32)[24:], sys.byteorder))


def _read_reached(plan: Plan) -> Reached:
    """Ask a server what it has replayed, and give it the password of the data folder."""
    try:
        with psycopg.connect(
            host=str(plan.socket_dir), port=plan.port, user=SUPERUSER, dbname="postgres"
        ) as connection:
            _set_password(connection, plan.layout.password.read_bytes())
            row = connection.execute(_REACHED).fetchone()
    except psycopg.Error as error:
        raise EmbeddedPostgresError(
            f"the restored cluster does not take its password: {error}"
        ) from None
    last_time, log_end, segment = row or (None, 0, "")
    return Reached(last_time, int(log_end), int(segment[:8], 16))


def _set_password(connection: psycopg.Connection, password: bytes) -> None:
    """Set the superuser's password; the server gets only its hash."""
    verifier = connection.pgconn.encrypt_password(password, SUPERUSER.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} password {}").format(
            sql.Identifier(SUPERUSER), sql.Literal(verifier.decode())
        )
    )


def _swap(layout: Layout, cluster: Path) -> Path | None:
    former_folder = None
    if layout.pgdata.exists():
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        former_folder = layout.data_dir / f"{BEFORE}{time}"
        layout.pgdata.rename(former_folder)
    cluster.rename(layout.pgdata)
    sync_folder(layout.data_dir)
    return former_folder
