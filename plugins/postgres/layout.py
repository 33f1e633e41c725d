"""The files of an embedded cluster: its paths, and how they are created and written."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from kernel.public import sync_folder, write_file

from .account import Account
from .binaries import Binaries
from .config import EmbeddedPostgresError
from .processes import INIT_CLUSTER, INIT_PREFIX, spawn


def rotate_log(log: Path, limit: int) -> None:
    """Move the content of a log over `limit` bytes to `<log>.1`, keeping the file itself.

    The server holds the file open for appending, so it is emptied, not renamed.
    """
    try:
        if log.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    older = log.with_name(log.name + ".1")
    older.unlink(missing_ok=True)
    older.touch(mode=0o600)
    shutil.copyfile(log, older)
    os.truncate(log, 0)


def complaint(log: Path, offset: int) -> str:
    """Return the last error in a log after `offset`, as one line for an operator."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read()[-20_000:].decode("utf-8", "replace").split("\n")
    except OSError:  # the log was moved; the server restarts all the same
        return "no message"
    for mark in ("PANIC:", "FATAL:", "ERROR:", "error:"):
        for line in reversed(lines):
            if mark in line:
                return line[line.index(mark) :].strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


class Layout:
    """The paths below one data folder; `config/` beside them belongs to the keys."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        """Resolve symlinks."""
        self.data_dir = Path(data_dir).expanduser().resolve()
        self.pgdata = self.data_dir / "postgres"
        """The cluster itself."""
        self.password = self.data_dir / "postgres.password"
        """The password of the superuser, mode 0600."""
        self.lock = self.data_dir / "postgres.lock"
        """Locked by the one process that owns the server."""
        self.log = self.data_dir / "postgres.log"
        """What PostgreSQL writes to stderr."""
        self.state = self.data_dir / "postgres.json"
        """How other commands reach the running server."""

    def cluster_version(self) -> int | None:
        """The major version that made the cluster, None while there is no cluster.

        Raises EmbeddedPostgresError where this account may not look, or for foreign content.
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

        An existing folder keeps its mode unless Caudex made it: opening a user's home that was
        named by mistake would be worse than refusing to start.
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
            if os.geteuid() == 0 and self._made_by_caudex():
                self.data_dir.chmod(self.data_dir.stat().st_mode & 0o7777 | 0o001)
            return
        parent_mode = 0o700
        mode = 0o700
        if os.geteuid() == 0:
            # A strict umask would lock the account out of a folder that we have just made.
            parent_mode = 0o755
            # Without the execute bit for others the unprivileged account could not reach PGDATA
            # below it; without the read bit only root lists its other content.
            mode = 0o711
        missing = [folder for folder in self.data_dir.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(parent_mode)
        self.data_dir.mkdir(exist_ok=True)
        self.data_dir.chmod(mode)

    def _made_by_caudex(self) -> bool:
        if self.data_dir.stat().st_uid != 0 or self.data_dir == Path.home():
            return False
        names = {entry.name for entry in self.data_dir.iterdir()}
        return not names or not names.isdisjoint({"config", self.password.name, self.lock.name})


SUPERUSER = "postgres"
# Bytes compare fast and alike everywhere; from 17 on the server brings its own Unicode rules, so
# upper and lower case work beyond ASCII without the system's locales.
PLAIN_LOCALE = ["--locale=C"]
BUILTIN_LOCALE = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *PLAIN_LOCALE]
PASSWORD_FILE = "password"


def make_cluster(layout: Layout, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Run initdb in a temporary folder and move the result to PGDATA, with a fresh password."""
    workshop = Path(tempfile.mkdtemp(prefix=INIT_PREFIX, dir=layout.data_dir))
    password = secrets.token_urlsafe(24)
    try:
        write_file(workshop / PASSWORD_FILE, password.encode())
        account.take_over(workshop / PASSWORD_FILE)
        account.take_over(workshop)
        cluster = _run_initdb(workshop, binaries, account, durable=durable)
        # The password goes first: a cluster in place without it could never be opened.
        write_file(layout.password, password.encode())
        os.rename(cluster, layout.pgdata)
        sync_folder(layout.data_dir)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _run_initdb(workshop: Path, binaries: Binaries, account: Account, *, durable: bool) -> Path:
    cluster = workshop / INIT_CLUSTER
    locale = PLAIN_LOCALE
    if binaries.major >= 17:
        locale = BUILTIN_LOCALE
    command = [str(binaries.program("initdb")), f"--pgdata={cluster}", *locale]
    command += ["--encoding=UTF8", "--auth=scram-sha-256", f"--username={SUPERUSER}"]
    command.append(f"--pwfile={workshop / PASSWORD_FILE}")
    if not durable:
        command.append("--no-sync")
        if binaries.major >= 16:
            # The usual 4096 guard passwords that can be guessed, and each connection pays for them.
            command += ["-c", "scram_iterations=1"]
    process = spawn(
        command, account, death_signal=signal.SIGKILL, cwd=workshop, output=subprocess.PIPE
    )
    with process:
        output = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        raise EmbeddedPostgresError(
            f"initdb failed: {_reason(output)}; see to space and rights in {workshop.parent}"
        )
    return cluster


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (errors or lines or ["no message"])[-1]


def read_password(layout: Layout) -> str:
    """The superuser's password of an existing cluster."""
    try:
        return layout.password.read_text()
    except FileNotFoundError:
        problem = "is missing: put it back from a backup of the data folder"
    except PermissionError:
        problem = "may not be read by this account: run as the account that runs the server"
    raise EmbeddedPostgresError(f"{layout.password} {problem}")
