"""The parameters the server is started with."""

import re
from collections.abc import Mapping
from pathlib import Path

from .dsn import LOOPBACK
from .errors import EmbeddedPostgresError

Setting = str | int | float | bool
# Whoever changes these outside breaks the DSN, the lock or the promise to stay on this machine.
RESERVED = frozenset(
    {
        "data_directory",
        "listen_addresses",
        "port",
        "unix_socket_directories",
        "unix_socket_group",
        "unix_socket_permissions",
    }
)
# mmap: the default (POSIX shared memory) does not even start in a container with a tiny /dev/shm.
DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A crash of the machine may lose everything: for tests only.
EPHEMERAL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def checked_settings(custom: Mapping[str, Setting]) -> dict[str, str]:
    """Custom parameters as PostgreSQL takes them; raises on names that are not the operator's."""
    for name in custom:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
            raise EmbeddedPostgresError(
                f"plugins.postgres.settings: {name!r} is no PostgreSQL parameter: correct its name"
            )
        if name.lower() in RESERVED:
            raise EmbeddedPostgresError(
                f"plugins.postgres.settings: {name} is decided by Caudex: remove it, "
                "or run a PostgreSQL of your own and set database.url"
            )
    return {name.lower(): _text(value) for name, value in custom.items()}


def _text(value: Setting) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def command_line(settings: Mapping[str, str], *, port: int, socket_dir: Path) -> list[str]:
    """The arguments that set every parameter, the endpoints last so that they win."""
    endpoints = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": f'"{socket_dir}"',
        "unix_socket_permissions": "0700",
    }
    pairs = {**settings, **endpoints}.items()
    return [argument for name, value in pairs for argument in ("-c", f"{name}={value}")]
