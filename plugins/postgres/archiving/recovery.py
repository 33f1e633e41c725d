"""Restores a cluster as it was at a time: a base backup, and the log that follows it."""

import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kernel.public import sync_folder, write_file
from plugins.postgres.layout import Layout
from plugins.postgres.postmaster import Plan, Postmaster
from plugins.postgres.processes import INIT_CLUSTER, INIT_PREFIX, remove_lock_files
from plugins.postgres.state import choose_socket_dir, remove_socket_dir

from .archive import PASSWORD, Archive, Base, recovery_settings, system_identifier

BEFORE = "postgres.before-"
_SEGMENT = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history")


def recover(plan: Plan, base: Base, at: datetime, report: Callable[[str], None]) -> Path:
    """Put a cluster of a former time in place of the one that has stopped. Returns the folder that
    the replaced one has now.

    Nothing changes before the new one is complete. Raises EmbeddedPostgresError.
    """
    layout = plan.layout
    workshop = Path(tempfile.mkdtemp(prefix=INIT_PREFIX, dir=layout.data_dir))
    workshop.chmod(0o711 if plan.account.switch else 0o700)
    try:
        cluster = workshop / INIT_CLUSTER
        _unpack(plan, base, cluster)
        _replay(plan, base, cluster, at, report)
        return _swap(layout, cluster, base)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _unpack(plan: Plan, base: Base, cluster: Path) -> None:
    cluster.mkdir()
    with tarfile.open(base.folder / "base.tar.gz") as tar:
        tar.extractall(cluster, filter="data")
    wal = cluster / "pg_wal"
    wal.mkdir(exist_ok=True)
    # Segments that the former cluster had no time to archive.
    if system_identifier(plan.layout.pgdata) == base.system:
        for file in (plan.layout.pgdata / "pg_wal").iterdir():
            if _SEGMENT.fullmatch(file.name) and not (base.wal / f"{file.name}.gz").exists():
                shutil.copyfile(file, wal / file.name)
    (cluster / "recovery.signal").touch()
    for path in (cluster, *cluster.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        plan.account.own(path)


def _replay(
    plan: Plan, base: Base, cluster: Path, at: datetime, report: Callable[[str], None]
) -> None:
    """Run the new cluster until it has replayed the log, and shut it down."""
    layout = Layout(plan.layout.data_dir)
    layout.pgdata = cluster
    archive = Archive(base.folder.parents[2], base.system)
    settings = {**plan.settings, **archive.settings(), **recovery_settings(base.wal, at)}
    socket_dir = choose_socket_dir(cluster, plan.account)
    server = Postmaster(replace(plan, layout=layout, settings=settings, socket_dir=socket_dir))
    try:
        server.wait_ready(report)
    finally:
        server.stop(300.0)
        remove_lock_files(cluster)
        remove_socket_dir(socket_dir)


def _swap(layout: Layout, cluster: Path, base: Base) -> Path:
    before = layout.data_dir / f"{BEFORE}{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
    write_file(before.with_name(f"{before.name}.password"), layout.password.read_bytes())
    layout.pgdata.rename(before)
    write_file(layout.password, (base.folder / PASSWORD).read_bytes())
    cluster.rename(layout.pgdata)
    sync_folder(layout.data_dir)
    return before
