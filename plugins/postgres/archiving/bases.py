"""A base backup: the files of a cluster, from which the log is replayed."""

import json
import tarfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from plugins.postgres.config import EmbeddedPostgresError

ENDED = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Base:
    """A base backup: a cluster can be restored to any moment after `ended`."""

    folder: Path
    ended: datetime

    @contextmanager
    def open_files(self) -> Generator[tarfile.TarFile]:
        """Open the files. Raises EmbeddedPostgresError where they are damaged."""
        try:
            with tarfile.open(self.folder / "base.tar.gz") as tar:
                yield tar
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise EmbeddedPostgresError(
                f"the base backup {self.folder} is damaged ({error}): "
                "restore an earlier time, or move it away"
            ) from None

    def cluster_version(self) -> int:
        """Return the major version of PostgreSQL that it needs."""
        with self.open_files() as tar:
            for entry in tar:
                if entry.name.removeprefix("./") != "PG_VERSION":
                    continue
                file = tar.extractfile(entry)
                if file is not None:
                    return int(file.read())
        raise EmbeddedPostgresError(f"{self.folder} is damaged: it has no PG_VERSION")

    def first_segment(self) -> str:
        """Return the name of the first segment that a restore needs, without its timeline."""
        high, low = self._log()["Start-LSN"].split("/")
        return f"{int(high, 16):08X}{int(low, 16) >> 24:08X}"

    def timeline(self) -> int:
        """Return the timeline of its log."""
        return int(self._log()["Timeline"])

    def _log(self) -> dict[str, str]:
        manifest = json.loads((self.folder / "backup_manifest").read_bytes())
        return manifest["WAL-Ranges"][0]


def read_base(folder: Path) -> Base:
    """Return the base backup in a folder."""
    return Base(folder, datetime.strptime(folder.name, ENDED).replace(tzinfo=UTC))
