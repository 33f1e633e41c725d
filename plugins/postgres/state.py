"""Where a server listens, which process owns its data folder, and how other commands find it."""

import contextlib
import fcntl
import os
import socket
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import msgspec

from kernel.public import write_file

from .account import Account
from .binaries import Binaries, find_binaries
from .config import LOOPBACK, EmbeddedPostgresError
from .layout import SUPERUSER, Layout, read_password
from .processes import is_alive, postgres_processes
from .role import ROLE, role_password


def make_dsn(
    password: str,
    port: int,
    socket_dir: Path | None,
    dbname: str = "postgres",
    user: str = SUPERUSER,
) -> str:
    """Return a libpq URI over the Unix socket, or over TCP without a socket folder.

    Everything is percent-encoded: a path may hold spaces, `%`, `&` or letters beyond ASCII.
    """
    login = f"{user}:{quote(password, safe='')}"
    database = quote(dbname, safe="")
    if socket_dir is None:
        return f"postgresql://{login}@{LOOPBACK}:{port}/{database}"
    host = quote(str(socket_dir), safe="")
    return f"postgresql://{login}@/{database}?host={host}&port={port}"


SOCKET_PREFIX = "caudex-pg-"


def port_is_free(port: int) -> bool:
    """Whether the server could listen on a TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_port(configured: int, *, strict: bool) -> int:
    """Return the configured port, or any free one where it is taken or 0; `strict` refuses to
    move."""
    if configured and port_is_free(configured):
        return configured
    if configured and strict:
        raise EmbeddedPostgresError(
            f"port {configured} is taken and another one may not be used on a public address: "
            "free it, set plugins.postgres.port, or better set database.url to a managed PostgreSQL"
        )
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_socket_dir(pgdata: Path, account: Account) -> Path:
    """Return PGDATA, or a private folder elsewhere where its path is too long for a socket."""
    if _socket_fits(pgdata):
        return pgdata
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = _make_private_folder(Path(parent), account)
        if folder is not None:
            return folder
    raise EmbeddedPostgresError(
        f"the path {pgdata} is too long for a socket and no temporary folder can be used: "
        "choose a shorter --data-dir"
    )


def _socket_fits(folder: Path) -> bool:
    path = os.fsencode(folder / ".s.PGSQL.65535")
    # Server and client both split the value at commas.
    return len(path) <= 107 and not any(mark in path for mark in (b",", b'"'))


def _make_private_folder(parent: Path, account: Account) -> Path | None:
    if not _socket_fits(parent / f"{SOCKET_PREFIX}12345678"):
        return None
    try:
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=parent))
    except OSError:
        return None
    account.take_over(folder)
    if account.can_enter(folder):
        return folder
    folder.rmdir()
    return None


def remove_socket_dir(folder: Path) -> None:
    """Remove a private socket folder of a server that is gone; PGDATA is left alone."""
    if not folder.name.startswith(SOCKET_PREFIX):
        return
    with contextlib.suppress(OSError):
        for entry in folder.glob(".s.PGSQL.*"):
            entry.unlink(missing_ok=True)
        folder.rmdir()


class DataLock:
    """The lock of a data folder, from start to end; the system releases it for a killed process."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises EmbeddedPostgresError with the process that holds it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._take():
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise EmbeddedPostgresError(_refusal(path.parent, holder))
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def _take(self) -> bool:
        for _ in range(5):  # `is_held` takes the lock itself for a moment
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def release(self) -> None:
        """Release the lock. The file stays: removing it would let two processes in."""
        os.close(self._handle)


def is_held(path: Path) -> bool:
    """Whether a live server owns the data folder."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _refusal(data_dir: Path, holder: str) -> str:
    process = ""
    if holder:
        process = f" (process {holder})"
    return (
        f"the data folder {data_dir} is in use by another Caudex server{process}: "
        "stop that one, or choose another --data-dir"
    )


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """A running server: its owner's pid, its own pid, and where it listens."""

    pid: int
    postmaster: int
    port: int
    socket_dir: str
    bin_dir: str
    version: str
    data: str


def write_state(layout: Layout, state: ServerState) -> None:
    """Publish a server that is ready."""
    write_file(layout.state, msgspec.json.encode(state))


def read_state(layout: Layout) -> ServerState | None:
    """Return what the last server published; None without a file or with a damaged one.

    Raises EmbeddedPostgresError where this account may not read it: that is not "no server".
    """
    try:
        return msgspec.json.decode(layout.state.read_bytes(), type=ServerState)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except PermissionError:
        raise EmbeddedPostgresError(
            f"{layout.state} may not be read by this account: "
            "run as the account that runs the server"
        ) from None


def running_state(data_dir: str | os.PathLike[str]) -> ServerState | None:
    """Return the server that runs in a data folder now, or None.

    A killed server leaves its file: owner and postmaster must be alive, and the postmaster must
    work in this cluster.
    """
    layout = Layout(data_dir)
    state = read_state(layout)
    if state is None or not is_alive(state.pid):
        return None
    if state.postmaster not in postgres_processes(layout.pgdata):
        return None
    return state


def attach(data_dir: str | os.PathLike[str], *, role: bool = False) -> str | None:
    """Return the DSN of the server that another process runs in a data folder, or None.

    It is the superuser's, or with `role` that of the ordinary role.

    Raises EmbeddedPostgresError where this account may not read its password.
    """
    state = running_state(data_dir)
    if state is None:
        return None
    return login_dsn(Layout(data_dir), state.port, Path(state.socket_dir), role=role)


def login_dsn(layout: Layout, port: int, socket_dir: Path, *, role: bool) -> str:
    """Return the DSN of the superuser, or of the ordinary role."""
    password = read_password(layout)
    if not role:
        return make_dsn(password, port, socket_dir)
    return make_dsn(role_password(password), port, socket_dir, user=ROLE)


def attach_in_time(
    data_dir: str | os.PathLike[str], timeout: float = 10.0, *, role: bool = False
) -> str | None:
    """Return the same, waiting while the owner of the data folder starts or restarts PostgreSQL.

    Raises EmbeddedPostgresError when it stays down.
    """
    layout = Layout(data_dir)
    deadline = time.monotonic() + timeout
    while True:
        dsn = attach(data_dir, role=role)
        if dsn is not None or not is_held(layout.lock):
            return dsn
        if time.monotonic() >= deadline:
            raise EmbeddedPostgresError(
                f"a server runs in {layout.data_dir}, but its PostgreSQL is down: "
                f"try again in a moment; {layout.log} says why"
            )
        time.sleep(0.1)


def pg_bin(name: str, data_dir: str | os.PathLike[str] | None = None, *, bin_dir: str = "") -> Path:
    """Return a client program such as `pg_dump` or `psql`, of the data folder's version.

    A dump needs the version of the server: the programs on PATH may be older.
    """
    if data_dir is None:
        return find_binaries(bin_dir=bin_dir).program(name)
    state = running_state(data_dir)
    if state is not None:
        return Binaries(Path(state.bin_dir), state.version).program(name)
    return find_binaries(Layout(data_dir).cluster_version(), bin_dir).program(name)
