"""Where everything of one embedded cluster lies: PGDATA and its companions in the data folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import EmbeddedPostgresError

# Without the execute bit for others the unprivileged account could not reach PGDATA below it;
# without the read bit nobody but root lists what else lies there.
ROOT_MODE = 0o711
USER_MODE = 0o700


@dataclass(frozen=True)
class Layout:
    """The paths below one data folder; `config/` beside them belongs to the keys."""

    data_dir: Path

    @classmethod
    def of(cls, data_dir: str | os.PathLike[str]) -> Self:
        """The layout of a data folder, symlinks resolved so that every process names it alike."""
        return cls(Path(data_dir).expanduser().resolve())

    @property
    def pgdata(self) -> Path:
        """The cluster itself."""
        return self.data_dir / "postgres"

    @property
    def password(self) -> Path:
        """The password of the superuser, mode 0600."""
        return self.data_dir / "postgres.password"

    @property
    def lock(self) -> Path:
        """Locked by the one process that owns the server."""
        return self.data_dir / "postgres.lock"

    @property
    def log(self) -> Path:
        """What PostgreSQL writes to stderr."""
        return self.data_dir / "postgres.log"

    @property
    def state(self) -> Path:
        """Tells other commands how to reach the running server."""
        return self.data_dir / "postgres.json"

    def cluster_version(self) -> int | None:
        """The major version that made the cluster, None while there is no cluster.

        Raises EmbeddedPostgresError when this account may not look, or something else lies there.
        """
        try:
            return int((self.pgdata / "PG_VERSION").read_text())
        except FileNotFoundError:
            self._refuse_foreign_content()
            return None
        except PermissionError:
            raise EmbeddedPostgresError(
                f"{self.pgdata} belongs to another account: run as the account that made it, "
                "or choose another --data-dir"
            ) from None
        except ValueError:
            raise EmbeddedPostgresError(
                f"{self.pgdata}/PG_VERSION is damaged: restore the folder from a backup"
            ) from None

    def _refuse_foreign_content(self) -> None:
        if self.pgdata.is_dir() and any(self.pgdata.iterdir()):
            raise EmbeddedPostgresError(
                f"{self.pgdata} holds files but no PostgreSQL cluster: move it away, "
                "or choose another --data-dir"
            )

    def prepare(self) -> None:
        """Make the data folder, enterable for the PostgreSQL account when we are root.

        A folder that existed before keeps its mode unless it is plainly ours: opening somebody's
        home because it was named as a data folder would be worse than refusing to start.
        """
        try:
            self._make()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot make the data folder {self.data_dir} ({error.strerror}): "
                "choose another with --data-dir or CAUDEX_DATA_DIR"
            ) from None
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise EmbeddedPostgresError(
                f"the data folder {self.data_dir} is not writable for this account: "
                "choose another with --data-dir or CAUDEX_DATA_DIR"
            )

    def _make(self) -> None:
        if self.data_dir.is_dir():
            if os.geteuid() == 0 and self._plainly_ours():
                self.data_dir.chmod(self.data_dir.stat().st_mode & 0o7777 | 0o001)
            return
        missing = [folder for folder in self.data_dir.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            # A strict umask would lock the account out of a folder that we have just made.
            folder.chmod(0o755 if os.geteuid() == 0 else USER_MODE)
        self.data_dir.mkdir(exist_ok=True)
        self.data_dir.chmod(ROOT_MODE if os.geteuid() == 0 else USER_MODE)

    def _plainly_ours(self) -> bool:
        if self.data_dir.stat().st_uid != 0 or self.data_dir == Path.home():
            return False
        names = {entry.name for entry in self.data_dir.iterdir()}
        return not names or not names.isdisjoint({"config", self.password.name, self.lock.name})
