"""How a client reaches the embedded server."""

from pathlib import Path
from urllib.parse import quote

from .cluster import SUPERUSER

LOOPBACK = "127.0.0.1"


def make_dsn(*, password: str, port: int, socket_dir: Path | None, dbname: str) -> str:
    """A libpq URI over the Unix socket, or over TCP when there is no socket folder.

    Everything is percent-encoded: a path may hold spaces, `%`, `&` or letters beyond ASCII.
    """
    login = f"{SUPERUSER}:{quote(password, safe='')}"
    database = quote(dbname, safe="")
    if socket_dir is None:
        return f"postgresql://{login}@{LOOPBACK}:{port}/{database}"
    host = quote(str(socket_dir), safe="")
    return f"postgresql://{login}@/{database}?host={host}&port={port}"
