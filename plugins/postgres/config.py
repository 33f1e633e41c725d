"""The `[plugins.postgres]` table, the parameters of the server, and the error of the plugin."""

import os
import re
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, field

from kernel.public import Section


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot do what was asked; one line that says the fix."""


Setting = str | int | float | bool
LOOPBACK = "127.0.0.1"
# Changing these would break the DSN, the lock or the promise to listen on this machine only.
RESERVED = {
    "data_directory", "listen_addresses", "port", "unix_socket_directories", "unix_socket_group",
    "unix_socket_permissions",
}  # fmt: skip
PROCESSORS = os.cpu_count() or 1
# mmap: the default (POSIX shared memory) does not even start in a container with a tiny /dev/shm.
DEFAULTS = {
    "dynamic_shared_memory_type": "mmap", "timezone": "UTC", "log_timezone": "UTC",
    # As for an SSD. With 4, for a rotating disk, each linked record of 200 was found by a scan.
    "random_page_cost": "1.1",
    # Two slow statements of a user, and their workers, leave processors to other requests.
    "max_parallel_workers": str(max(0, min(PROCESSORS // 2, PROCESSORS - 2))),
}  # fmt: skip
# A crash of the machine may lose everything: for tests only.
EPHEMERAL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def checked_settings(custom: Mapping[str, Setting]) -> dict[str, str]:
    """Return custom parameters as PostgreSQL takes them; raises for names that Caudex sets."""
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
    # PostgreSQL reads a boolean in any case of letters: "True" is "on".
    return {name.lower(): str(value) for name, value in custom.items()}


class PostgresConfig(Section, frozen=True, kw_only=True):
    """How the embedded server runs; ignored when a database url is configured.

    `settings` are further PostgreSQL parameters by name, as in postgresql.conf; they win over the
    two memory and connection figures. `account` is for root, `bin_dir` replaces the search for the
    programs; `ephemeral` trades all durability for speed, for tests only. With a folder `archive`
    the cluster can be restored to any moment: a base backup every `archive_days`, of which the last
    `archive_keep` are kept, younger ones than their days, and the log since the oldest of them.
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 5480
    max_connections: Annotated[int, Meta(ge=10, le=262_143)] = 200
    shared_buffers: str = "128MB"
    settings: dict[str, Setting] = field(default_factory=dict[str, Setting])
    account: str = ""
    bin_dir: str = ""
    ephemeral: bool = False
    archive: str = ""
    archive_days: Annotated[float, Meta(ge=0.01, le=365)] = 7.0
    archive_keep: Annotated[int, Meta(ge=1, le=1000)] = 2
