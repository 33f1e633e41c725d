"""The archive of the write-ahead log (WAL): base backups, and every segment since the oldest.

`<archive>/<system identifier>/` holds `wal/`, `base/<time of its end>/` and `branches.json`. A
cluster that is made again has another identifier, so it never writes between the segments of a
former one.
"""

import gzip
import os
import re
import shlex
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec

from kernel.public import sync_folder, write_file
from plugins.postgres.account import Account
from plugins.postgres.config import EmbeddedPostgresError

from .bases import ENDED, Base, read_base
from .branches import Branch, Lineage, Origin, next_branch, read_origin

PARTIAL = ".partial-"
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_WHOLE_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})000000([0-9A-F]{2})\.gz")


class Archive:
    """The archive of one cluster."""

    def __init__(self, root: str | os.PathLike[str], system: str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.folder = self.root / system
        self.wal = self.folder / "wal"
        self.bases = self.folder / "base"
        self._list = self.folder / "branches.json"

    def prepare(self, account: Account) -> None:
        """Make the folders. Raises EmbeddedPostgresError where the account cannot write there."""
        if not shutil.which("gzip"):
            raise EmbeddedPostgresError("plugins.postgres.archive needs the program gzip")
        mode = 0o700
        if account.switch:
            mode = 0o711  # as for the data folder: the account of PostgreSQL has to pass
        for folder in (self.root, self.folder, self.bases, self.wal):
            if not folder.exists():
                folder.mkdir(parents=True)
                folder.chmod(mode)
        self.bases.chmod(0o700)
        for password in self.bases.glob("*/password"):  # of earlier ones; nothing reads it
            password.unlink()
        account.take_over(self.wal)
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
        folder = _quote(self.wal)
        target = f"{folder}/%f.gz"
        compare = f"gzip -dc {target} | cmp -s - %p"
        write = f"gzip -c %p > {target}.tmp && sync {target}.tmp && mv {target}.tmp {target}"
        command = f"if test -e {target}; then {compare}; else {write} && sync {folder}; fi"
        return {"archive_mode": "on", "archive_command": command}

    def recovery_settings(self, timeline: int) -> dict[str, str]:
        """Return what makes PostgreSQL replay the log of a timeline, and then serve.

        It archives nothing until it serves: a restore that fails leaves no trace.
        """
        source = f"{_quote(self.wal)}/%f.gz"
        return {
            "restore_command": f"test -e {source} && gzip -dc {source} > %p",
            "recovery_target_timeline": str(timeline),
            "recovery_target_action": "promote",
            "archive_mode": "on",
            "archive_command": "",
            "hot_standby": "off",
            "timezone": "UTC",
        }

    def base_backups(self) -> list[Base]:
        """Return the complete base backups of this cluster, the oldest first."""
        folders = self.bases.glob("[0-9]*Z")
        return sorted(map(read_base, folders), key=lambda base: base.ended)

    def begin_base(self) -> Path:
        """Make a folder for a base backup; those of interrupted ones go."""
        for old in self.bases.glob(f"{PARTIAL}*"):
            shutil.rmtree(old, ignore_errors=True)
        folder = self.bases / f"{PARTIAL}{os.getpid()}"
        folder.mkdir(mode=0o700)
        return folder

    def complete_base(self, partial: Path) -> Base:
        """Name a base backup by the time of its end."""
        for file in partial.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        ended = datetime.now(UTC)
        folder = self.bases / ended.strftime(ENDED)
        partial.rename(folder)
        sync_folder(self.bases)
        return Base(folder, ended)

    def prune(self, count: int, age: timedelta) -> None:
        """Remove base backups beyond the newest `count` that are older than `age`, and the segments
        that only those needed.

        Each restore is followed by a base backup. So several in a day must not push out the last
        one from before the mistake.
        """
        bases = self.base_backups()
        oldest = datetime.now(UTC) - age
        expired = [base for base in bases[:-count] if base.ended < oldest]
        for base in expired:
            shutil.rmtree(base.folder)
        needed_segments = [base.first_segment() for base in bases if base not in expired]
        if not needed_segments:
            return
        # By the point in the log: after a restore a newer base backup may begin at an older one.
        oldest_segment = min(needed_segments)
        for file in self.wal.iterdir():
            if _SEGMENT.match(file.name) and file.name[8:24] < oldest_segment:
                file.unlink()

    def branches(self) -> list[Branch]:
        """Return the branches of the cluster, the oldest first."""
        try:
            return msgspec.json.decode(self._list.read_bytes(), type=list[Branch])
        except FileNotFoundError:
            # It has none before its second branch if an earlier version made the archive.
            oldest = self.base_backups()[:1]
            return [Branch(timeline=base.timeline(), since=base.ended) for base in oldest]
        except msgspec.MsgspecError as error:
            raise EmbeddedPostgresError(f"{self._list} is damaged: {error}") from None

    def add_branch(self, branch: Branch) -> None:
        """Write down that a timeline serves from now on."""
        branches = [*self.branches(), branch]
        write_file(self._list, msgspec.json.format(msgspec.json.encode(branches)))

    def serve(self, timeline: int, pgdata: Path) -> None:
        """Write down which timeline serves, where that is another one than before."""
        branch = self._next_branch(timeline, pgdata)
        if branch is not None:
            self.add_branch(branch)

    def lineage(self, timeline: int | None = None, pgdata: Path | None = None) -> Lineage:
        """Return what the times that can be restored depend on.

        With the timeline of a cluster in `pgdata` as if it served, which may not have begun.
        """
        branches = self.branches()
        if timeline is not None and pgdata is not None:
            branch = self._next_branch(timeline, pgdata)
            if branch is not None:
                branches.append(branch)
        bases = [base.ended for base in self.base_backups()]
        return Lineage(branches, bases, self._find_breaks())

    def put_history(self, file: Path, account: Account) -> None:
        """Archive the history file of a timeline before it serves, as PostgreSQL would."""
        target = self.wal / f"{file.name}.gz"
        write_file(target, gzip.compress(file.read_bytes(), mtime=0))
        account.take_over(target)

    def _next_branch(self, timeline: int, pgdata: Path) -> Branch | None:
        origin = self._read_origin(timeline, pgdata)
        return next_branch(self.branches(), timeline, datetime.now(UTC), origin)

    def _read_origin(self, timeline: int, pgdata: Path) -> Origin | None:
        """Read the history file of a timeline: of the cluster, or of the archive."""
        name = f"{timeline:08X}.history"
        with suppress(OSError):
            return read_origin((pgdata / "pg_wal" / name).read_text())
        with suppress(OSError, EOFError):
            return read_origin(gzip.decompress((self.wal / f"{name}.gz").read_bytes()).decode())
        return None

    def _find_breaks(self) -> list[datetime]:
        """Return the times at which the log breaks off: of segments whose next one is missing,
        though later ones are there."""
        breaks: list[datetime] = []
        for segments in self._find_segments().values():
            for number, next_number in pairwise(sorted(segments)):
                if next_number != number + 1:
                    written_at = segments[number].stat().st_mtime
                    breaks.append(datetime.fromtimestamp(written_at, UTC))
        return breaks

    def _find_segments(self) -> dict[str, dict[int, Path]]:
        """Return the archived segments of each timeline, by their numbers."""
        timelines: dict[str, dict[int, Path]] = {}
        for file in self.wal.glob("*.gz"):
            match = _WHOLE_SEGMENT.fullmatch(file.name)
            if match is None:
                continue
            timeline, high, low = match.groups()
            number = (int(high, 16) << 8) + int(low, 16)
            timelines.setdefault(timeline, {})[number] = file
        return timelines


def list_archives(root: str) -> list[Archive]:
    """Return the archives of all clusters below a folder."""
    folder = Path(root).expanduser().absolute()
    return [Archive(folder, system.name) for system in folder.glob("[0-9]*")]


def _quote(path: Path) -> str:
    return shlex.quote(str(path)).replace("%", "%%")
