"""Where the server listens: a TCP port on the loopback address and a folder for its socket."""

import contextlib
import os
import socket
import tempfile
from pathlib import Path

from .account import Account
from .dsn import LOOPBACK
from .errors import EmbeddedPostgresError

SOCKET_PATH_LIMIT = 107
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


def choose_port(wanted: int, *, strict: bool) -> int:
    """The wanted port, or any free one when it is taken or 0; `strict` refuses to move."""
    if wanted and port_is_free(wanted):
        return wanted
    if wanted and strict:
        raise EmbeddedPostgresError(
            f"port {wanted} is taken and another one may not be used on a public address: "
            "free it, set plugins.postgres.port, or better set database.url to a managed PostgreSQL"
        )
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_socket_dir(pgdata: Path, account: Account) -> Path:
    """PGDATA itself, or a private folder elsewhere when a socket cannot have such a path."""
    if _socket_fits(pgdata):
        return pgdata
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if folder := _private_folder(Path(parent), account):
            return folder
    raise EmbeddedPostgresError(
        f"the path {pgdata} is too long for a socket and no temporary folder can be used: "
        "choose a shorter --data-dir"
    )


def _socket_fits(folder: Path) -> bool:
    path = os.fsencode(folder / ".s.PGSQL.65535")
    # Server and client both take a comma for the end of one folder and the start of another.
    return len(path) <= SOCKET_PATH_LIMIT and not any(mark in path for mark in (b",", b'"'))


def _private_folder(parent: Path, account: Account) -> Path | None:
    if not _socket_fits(parent / f"{SOCKET_PREFIX}12345678"):
        return None
    try:
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=parent))
    except OSError:
        return None
    account.own(folder)
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
