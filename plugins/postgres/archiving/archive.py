"""The archive of the write-ahead log (WAL): base backups, and every segment since the oldest.

`<archive>/<system identifier>/` holds `wal/` and `base/<time of its end>/`. A cluster that is made
again has another identifier, so it never writes between the segments of a former one.
"""

import json
import os
import re
import shlex
import shutil
import struct
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from kernel.public import DatabaseQuery, Finding, Statements, Unavailable, sync_folder
from plugins.postgres.account import Account, environment
from plugins.postgres.binaries import Binaries
from plugins.postgres.config import EmbeddedPostgresError, PostgresConfig
from plugins.postgres.layout import SUPERUSER, Layout, read_password
from plugins.postgres.state import running_state

FAILED = """
select last_failed_wal from pg_stat_archiver
where last_failed_time > coalesce(last_archived_time, '-infinity')"""
ENDED = "%Y%m%dT%H%M%S.%fZ"
PARTIAL = ".partial-"
_SEGMENT = re.compile(r"[0-9A-F]{24}")

log = structlog.get_logger("caudex.postgres")


def system_identifier(pgdata: Path) -> str:
    """Return the number that a cluster and its WAL share: the head of `global/pg_control`.

    Raises EmbeddedPostgresError where the file is lost or cut off.
    """
    path = pgdata / "global" / "pg_control"
    try:
        with path.open("rb") as file:
            return str(struct.unpack("=Q", file.read(8))[0])
    except (OSError, struct.error) as error:
        raise EmbeddedPostgresError(
            f"{path} is damaged ({error}): caudex restore --at TIME restores the cluster"
        ) from None


@dataclass(frozen=True)
class Base:
    """A base backup: a cluster can be restored to any moment after `ended`."""

    folder: Path
    ended: datetime

    @property
    def wal(self) -> Path:
        """The folder of the segments that continue it."""
        return self.folder.parents[1] / "wal"

    @property
    def system(self) -> str:
        """The identifier of its cluster."""
        return self.folder.parents[1].name

    @contextmanager
    def opened(self) -> Generator[tarfile.TarFile]:
        """Open the files. Raises EmbeddedPostgresError where they are damaged."""
        try:
            with tarfile.open(self.folder / "base.tar.gz") as tar:
                yield tar
        except (tarfile.TarError, EOFError, zlib.error) as error:
            said = f"the base backup {self.folder} is damaged ({error}): restore an earlier time"
            raise EmbeddedPostgresError(f"{said}, or move it away") from None

    def cluster_version(self) -> int:
        """Return the major version of PostgreSQL that it needs."""
        with self.opened() as tar:
            while entry := tar.next():
                if entry.name.removeprefix("./") == "PG_VERSION" and (
                    file := tar.extractfile(entry)
                ):
                    return int(file.read())
        raise EmbeddedPostgresError(f"{self.folder} is damaged: it has no PG_VERSION")

    def first_segment(self) -> str:
        """Return the name of the first segment that a restore needs, without its timeline."""
        manifest = json.loads((self.folder / "backup_manifest").read_bytes())
        high, low = manifest["WAL-Ranges"][0]["Start-LSN"].split("/")
        return f"{int(high, 16):08X}{int(low, 16) >> 24:08X}"


class Archive:
    """The archive of one cluster."""

    def __init__(self, root: str | os.PathLike[str], system: str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.folder = self.root / system
        self.wal = self.folder / "wal"
        self.bases = self.folder / "base"

    def prepare(self, account: Account) -> None:
        """Make the folders. Raises EmbeddedPostgresError where the account cannot write there."""
        if not shutil.which("gzip"):
            raise EmbeddedPostgresError("plugins.postgres.archive needs the program gzip")
        for folder in (self.root, self.folder, self.bases, self.wal):
            if not folder.exists():
                folder.mkdir(parents=True)
                # As for the data folder: the account of PostgreSQL has to pass.
                folder.chmod(0o711 if account.switch else 0o700)
        self.bases.chmod(0o700)
        for password in self.bases.glob("*/password"):  # of earlier ones; nothing reads it
            password.unlink()
        account.own(self.wal)
        self.wal.chmod(0o700)
        if not account.can_enter(self.wal):
            raise EmbeddedPostgresError(
                f"the archive {self.root} cannot be entered by the account {account.name}: "
                "choose another plugins.postgres.archive, or open the way to it (chmod o+x)"
            )

    def settings(self) -> dict[str, str]:
        """Return what makes PostgreSQL fill the archive.

        A segment is complete on the disk before it has its name. One that is there already is
        accepted only with the same content, as after a crash.
        """
        target, folder = f"{_quoted(self.wal)}/%f.gz", _quoted(self.wal)
        kept = f"gzip -dc {target} | cmp -s - %p"
        new = f"gzip -c %p > {target}.tmp && sync {target}.tmp && mv {target}.tmp {target}"
        command = f"if test -e {target}; then {kept}; else {new} && sync {folder}; fi"
        return {"archive_mode": "on", "archive_command": command}

    def found(self) -> list[Base]:
        """Return the complete base backups of this cluster, the oldest first."""
        return sorted(_bases(self.folder), key=lambda base: base.ended)

    def partial(self) -> Path:
        """Make a folder for a base backup; those of interrupted ones go."""
        for old in self.bases.glob(f"{PARTIAL}*"):
            shutil.rmtree(old, ignore_errors=True)
        folder = self.bases / f"{PARTIAL}{os.getpid()}"
        folder.mkdir(mode=0o700)
        return folder

    def complete(self, partial: Path) -> Base:
        """Name a base backup by the time of its end."""
        for file in partial.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        ended = datetime.now(UTC)
        folder = self.bases / ended.strftime(ENDED)
        partial.rename(folder)
        sync_folder(self.bases)
        return Base(folder, ended)

    def prune(self, keep: int) -> None:
        """Remove all but the newest base backups, and the segments that only those needed."""
        bases = self.found()
        for old in bases[:-keep]:
            shutil.rmtree(old.folder)
        if not bases:
            return
        first = bases[-keep:][0].first_segment()
        for file in self.wal.iterdir():
            if _SEGMENT.match(file.name) and file.name[8:24] < first:
                file.unlink()


class BaseBackups:
    """Makes a base backup when one is due, and reports when PostgreSQL cannot archive."""

    def __init__(self, data_dir: Path, config: PostgresConfig, statements: Statements) -> None:
        self._layout, self._config, self._statements = Layout(data_dir), config, statements

    async def step(self) -> None:
        """Do what is due. Raises Unavailable."""
        if failed := await self._statements.fetch(FAILED):
            said = f"PostgreSQL cannot archive {failed.decode()}"
            raise Unavailable(f"{said}: see {self._layout.log}")
        archive = Archive(self._config.archive, system_identifier(self._layout.pgdata))
        newest = max((base.ended for base in archive.found()), default=None)
        if newest and datetime.now(UTC) - newest < timedelta(days=self._config.archive_days):
            return
        await self._make(archive)
        await to_thread.run_sync(archive.prune, self._config.archive_keep)

    async def _make(self, archive: Archive) -> None:
        state = await to_thread.run_sync(running_state, self._layout.data_dir)
        if state is None:
            return
        program = Binaries(Path(state.bin_dir), state.version).program("pg_basebackup")
        partial, secret = archive.partial(), {"PGPASSWORD": read_password(self._layout)}
        command = [
            str(program), f"--pgdata={partial}", "--format=tar", "--gzip", "--wal-method=none",
            "--checkpoint=fast", f"--host={state.socket_dir}", f"--port={state.port}",
            f"--username={SUPERUSER}", "--no-password",
        ]  # fmt: skip
        # It waits for the archive, for as long as it can be one's last base backup.
        with anyio.fail_after(max(60.0, self._config.archive_days * 86_400)):
            ended = await anyio.run_process(command, check=False, env=environment() | secret)
        if ended.returncode:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise Unavailable(f"a base backup failed: {said[-1]}")
        base = await to_thread.run_sync(archive.complete, partial)
        log.info("a base backup of the cluster", folder=str(base.folder))


def remark(config: PostgresConfig, query: DatabaseQuery) -> Finding:
    """Report to `caudex doctor` the earliest time to which the cluster can be restored."""
    folder = Path(config.archive).expanduser().absolute()
    ended = sorted(base.ended for system in folder.glob("[0-9]*") for base in _bases(system))
    if failed := query(FAILED):
        text = f"PostgreSQL cannot archive {failed}: see postgres.log in the data directory"
        return Finding(name="archive", text=text, state="fail")
    if not ended:
        text = f"{folder} has no base backup yet; a server that runs makes one"
        return Finding(name="archive", text=text, state="warn")
    since, newest = (time.isoformat(timespec="seconds") for time in (ended[0], ended[-1]))
    text = f"any time since {since} can be restored; the newest base backup is of {newest}"
    return Finding(name="archive", text=text, state="ok")


def base_for(root: str, at: datetime) -> Base:
    """Return the newest base backup before a time. Raises EmbeddedPostgresError without one."""
    folder = Path(root).expanduser().absolute()
    every = [base for system in folder.glob("[0-9]*") for base in _bases(system)]
    if fitting := [base for base in every if base.ended <= at]:
        return max(fitting, key=lambda base: base.ended)
    oldest = min((base.ended for base in every), default=None)
    said = f"the oldest is of {oldest.isoformat(timespec='seconds')}" if oldest else "it has none"
    raise EmbeddedPostgresError(f"the archive {folder} has no base backup before that time: {said}")


def recovery_settings(wal: Path, at: datetime) -> dict[str, str]:
    """Return what makes PostgreSQL replay the archive up to a time, and then serve."""
    source = f"{_quoted(wal)}/%f.gz"
    return {
        "restore_command": f"test -e {source} && gzip -dc {source} > %p",
        "recovery_target_time": at.astimezone(UTC).isoformat(sep=" "),
        "recovery_target_action": "promote", "recovery_target_timeline": "latest",
        "hot_standby": "off",
    }  # fmt: skip


def _bases(folder: Path) -> Iterator[Base]:
    for each in (folder / "base").glob("[0-9]*Z"):
        yield Base(each, datetime.strptime(each.name, ENDED).replace(tzinfo=UTC))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path)).replace("%", "%%")
