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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from kernel.public import sync_folder, write_file
from plugins.postgres.config import EmbeddedPostgresError
from plugins.postgres.layout import SUPERUSER, Layout
from plugins.postgres.postmaster import Plan, Postmaster
from plugins.postgres.processes import INIT_CLUSTER, INIT_PREFIX, remove_lock_files
from plugins.postgres.state import choose_socket_dir, remove_socket_dir

from .archive import Archive, Base, recovery_settings

BEFORE = "postgres.before-"
LOCAL_ONLY = "local all all trust\n"
_SEGMENT = re.compile(r"[0-9A-F]{24}")


def recover(plan: Plan, base: Base, at: datetime, report: Callable[[str], None]) -> Path | None:
    """Put a cluster of a former time in place of the one that has stopped. Returns the folder that
    the replaced one has now, if there was one.

    Nothing changes before the new one is complete. Raises EmbeddedPostgresError.
    """
    layout = plan.layout
    workshop = Path(tempfile.mkdtemp(prefix=INIT_PREFIX, dir=layout.data_dir))
    workshop.chmod(0o711 if plan.account.switch else 0o700)
    try:
        cluster = workshop / INIT_CLUSTER
        _unpack(plan, base, cluster)
        if not layout.password.exists():
            write_file(layout.password, secrets.token_urlsafe(24).encode())
        _replay(plan, base, cluster, at, report)
        return _swap(layout, cluster)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _unpack(plan: Plan, base: Base, cluster: Path) -> None:
    cluster.mkdir()
    with base.opened() as tar:
        tar.extractall(cluster, filter="data")
    _copy_log(plan.layout.pgdata, base, cluster / "pg_wal")
    (cluster / "recovery.signal").touch()
    for path in (cluster, *cluster.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        plan.account.own(path)
    hba = cluster.with_name("hba.conf")
    hba.write_text(LOCAL_ONLY)
    plan.account.own(hba)


def _copy_log(former: Path, base: Base, wal: Path) -> None:
    """Copy segments that the former cluster had no time to archive, where they can be read."""
    wal.mkdir(exist_ok=True)
    with suppress(OSError):  # what the archive has is all there is
        for path in (former / "pg_wal").iterdir():
            archived = (base.wal / f"{path.name}.gz").exists()
            if _SEGMENT.fullmatch(path.name) and not archived and _system_of(path) == base.system:
                shutil.copyfile(path, wal / path.name)


def _system_of(segment: Path) -> str:
    """Return the identifier of the cluster that wrote a segment: the `xlp_sysid` of its head.

    `pg_control` has it too, but may be what is damaged.
    """
    with segment.open("rb") as file:
        return str(int.from_bytes(file.read(32)[24:], sys.byteorder))


def _replay(
    plan: Plan, base: Base, cluster: Path, at: datetime, report: Callable[[str], None]
) -> None:
    """Run the new cluster until it has replayed the log, and shut it down."""
    layout = Layout(plan.layout.data_dir)
    layout.pgdata = cluster
    archive = Archive(base.folder.parents[2], base.system)
    settings = {**plan.settings, **archive.settings(), **recovery_settings(base.wal, at)}
    settings["hba_file"] = str(cluster.with_name("hba.conf"))
    socket_dir = choose_socket_dir(cluster, plan.account)
    plan = replace(plan, layout=layout, settings=settings, socket_dir=socket_dir)
    server = Postmaster(plan)
    try:
        server.wait_ready(report)
        _set_password(plan)
    finally:
        server.stop(300.0)
        remove_lock_files(cluster)
        remove_socket_dir(socket_dir)


def _set_password(plan: Plan) -> None:
    """Give the superuser the password of the data folder; the server gets only its hash."""
    where = {"host": str(plan.socket_dir), "port": plan.port, "dbname": "postgres"}
    password = plan.layout.password.read_bytes()
    try:
        with psycopg.connect(user=SUPERUSER, **where) as connection:  # type: ignore[arg-type]
            verifier = connection.pgconn.encrypt_password(
                password, SUPERUSER.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(SUPERUSER), sql.Literal(verifier.decode())
                )
            )
    except psycopg.Error as error:
        said = f"the restored cluster does not take its password: {error}"
        raise EmbeddedPostgresError(said) from None


def _swap(layout: Layout, cluster: Path) -> Path | None:
    before = None
    if layout.pgdata.exists():
        before = layout.data_dir / f"{BEFORE}{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
        layout.pgdata.rename(before)
    cluster.rename(layout.pgdata)
    sync_folder(layout.data_dir)
    return before
