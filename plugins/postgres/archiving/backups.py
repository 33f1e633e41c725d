"""Base backups when they are due, and what `caudex doctor` reports of the archive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from kernel.public import DatabaseQuery, Finding, Statements, Unavailable
from plugins.postgres.account import environment
from plugins.postgres.binaries import Binaries
from plugins.postgres.config import PostgresConfig
from plugins.postgres.layout import SUPERUSER, Layout, read_password
from plugins.postgres.state import running_state

from .archive import Archive
from .control import read_control

FAILED = """
select last_failed_wal from pg_stat_archiver
where last_failed_time > coalesce(last_archived_time, '-infinity')"""

SYSTEM = "select system_identifier from pg_control_system()"

log = structlog.get_logger("caudex.postgres")


class BaseBackups:
    """Makes a base backup when one is due, and reports when PostgreSQL cannot archive."""

    def __init__(self, data_dir: Path, config: PostgresConfig, statements: Statements) -> None:
        self._layout = Layout(data_dir)
        self._config = config
        self._statements = statements

    async def step(self) -> None:
        """Do what is due. Raises Unavailable."""
        failed_segment = await self._statements.fetch(FAILED)
        if failed_segment:
            raise Unavailable(
                f"PostgreSQL cannot archive {failed_segment.decode()}: see {self._layout.log}"
            )
        archive = Archive(self._config.archive, read_control(self._layout.pgdata).system)
        if not await to_thread.run_sync(self._is_due, archive):
            return
        await self._make(archive)
        count = self._config.archive_keep
        max_age = timedelta(days=count * self._config.archive_days)
        await to_thread.run_sync(archive.prune, count, max_age)

    def _is_due(self, archive: Archive) -> bool:
        """Whether the newest base backup is old, or of a branch that was left."""
        lineage = archive.lineage()
        if not lineage.bases or lineage.needs_base():
            return True
        return datetime.now(UTC) - max(lineage.bases) >= timedelta(days=self._config.archive_days)

    async def _make(self, archive: Archive) -> None:
        state = await to_thread.run_sync(running_state, self._layout.data_dir)
        if state is None:
            return
        program = Binaries(Path(state.bin_dir), state.version).program("pg_basebackup")
        partial = archive.begin_base()
        command = [
            str(program),
            f"--pgdata={partial}",
            "--format=tar",
            "--gzip",
            "--wal-method=none",
            "--checkpoint=fast",
            f"--host={state.socket_dir}",
            f"--port={state.port}",
            f"--username={SUPERUSER}",
            "--no-password",
        ]
        variables = environment() | {"PGPASSWORD": read_password(self._layout)}
        # It waits for the archive, for as long as it can be one's last base backup.
        with anyio.fail_after(max(60.0, self._config.archive_days * 86_400)):
            process = await anyio.run_process(command, check=False, env=variables)
        if process.returncode:
            lines = process.stderr.decode("utf-8", "replace").strip().splitlines()
            message = (lines or ["no message"])[-1]
            raise Unavailable(f"a base backup failed: {message}")
        base = await to_thread.run_sync(archive.complete_base, partial)
        log.info("a base backup of the cluster", folder=str(base.folder))


def examine_archive(root: str, query: DatabaseQuery) -> Finding:
    """Report to `caudex doctor` to which times the cluster can be restored."""
    failed_segment = query(FAILED)
    if failed_segment:
        text = f"PostgreSQL cannot archive {failed_segment}: see postgres.log in the data directory"
        return Finding(name="archive", text=text, state="fail")
    lineage = Archive(root, str(query(SYSTEM))).lineage()
    text = lineage.describe()
    abandoned = lineage.describe_abandoned()
    if abandoned:
        text += f"; a restore left {', '.join(abandoned[-3:])}"
    if lineage.needs_base():
        text += "; there is no base backup of the current branch yet: a server that runs makes one"
        return Finding(name="archive", text=text, state="warn")
    text += f"; the newest base backup is of {max(lineage.bases).isoformat(timespec='seconds')}"
    return Finding(name="archive", text=text, state="ok")
