"""The state file: how other commands find the embedded server that runs in a data folder."""

import os
import time
from pathlib import Path

import msgspec

from .binaries import Binaries, find_binaries
from .cluster import read_password
from .dsn import make_dsn
from .errors import EmbeddedPostgresError
from .files import write_private
from .layout import Layout
from .lock import is_held
from .processes import is_alive, postgres_processes

PATIENCE = 10.0
"""Seconds that a command waits for the PostgreSQL of a server that starts, or starts it again."""

LOOK_EVERY = 0.1


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
    """Announce a server that is ready."""
    write_private(layout.state, msgspec.json.encode(state).decode())


def read_state(layout: Layout) -> ServerState | None:
    """What the last server announced; None when it took that back or the file is damaged.

    Raises EmbeddedPostgresError when this account may not read it, which must not look like no
    server at all.
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
    """The server that really runs in a data folder now, None when there is none.

    A file left by a killed server is not believed: its owner and its postmaster have to live, and
    the postmaster has to work in this very cluster.
    """
    layout = Layout.of(data_dir)
    state = read_state(layout)
    if state is None or not is_alive(state.pid):
        return None
    return state if state.postmaster in postgres_processes(layout.pgdata) else None


def attach(
    data_dir: str | os.PathLike[str], *, tcp: bool = False, dbname: str = "postgres"
) -> str | None:
    """The DSN of the server that another process runs in a data folder, None when none runs.

    Raises EmbeddedPostgresError when it runs but this account may not read its password.
    """
    state = running_state(data_dir)
    if state is None:
        return None
    return make_dsn(
        password=read_password(Layout.of(Path(data_dir))),
        port=state.port,
        socket_dir=None if tcp else Path(state.socket_dir),
        dbname=dbname,
    )


def attach_in_time(data_dir: str | os.PathLike[str], patience: float = PATIENCE) -> str | None:
    """The same, waiting where the owner of the data folder lives and its PostgreSQL is down: it
    starts it, or starts it again after a crash.

    Raises EmbeddedPostgresError when it stays down.
    """
    layout, deadline = Layout.of(data_dir), time.monotonic() + patience
    while (dsn := attach(data_dir)) is None and is_held(layout.lock):
        if time.monotonic() >= deadline:
            raise EmbeddedPostgresError(
                f"a server runs in {layout.data_dir}, but its PostgreSQL is down: "
                f"try again in a moment; {layout.log} says why"
            )
        time.sleep(LOOK_EVERY)
    return dsn


def pg_bin(name: str, data_dir: str | os.PathLike[str] | None = None, *, bin_dir: str = "") -> Path:
    """A client program such as `pg_dump` or `psql`, of the version that fits a data folder.

    A dump needs the version of the server: the programs on PATH may be older.
    """
    if data_dir is None:
        return find_binaries(bin_dir=bin_dir).program(name)
    if state := running_state(data_dir):
        return Binaries(Path(state.bin_dir), state.version).program(name)
    return find_binaries(Layout.of(data_dir).cluster_version(), bin_dir).program(name)
