"""The configuration of a server: one table for each part of the kernel, and those of plugins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

__all__ = ["Configuration", "DatabaseConfig", "LogConfig", "Section", "ServerConfig"]

_ORIGIN = Meta(
    pattern=r"^[a-z][a-z0-9+.-]*://[^/*?#]+$",
    description="an exact origin without a path or a star, as https://tools.example.com",
)
_HOST = Meta(
    pattern=r"^(\*|[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])$",
    description="a name or an address without scheme and port, as api.example.com, or *",
)
_PREFIX_OF_PATHS = Meta(
    pattern=r"^(/[A-Za-z0-9._~-]+)*$",
    description="a path that begins with a slash and ends without one, as /tools/caudex",
)
_MAX_PROCESSES: Final = 64
"""Server processes of one start."""
_Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Old names of keys, each with the current one. An old name works, with a warning."""


class ServerConfig(Section, frozen=True, kw_only=True):
    """`[server]`: the address, the limits, the data folder."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9100
    """Port to listen on; 0 takes any free one."""
    workers: Annotated[int, Meta(ge=1, le=_MAX_PROCESSES)] | Literal["auto"] = 1
    """Server processes. `auto` is one for each core, less one where Caudex runs PostgreSQL."""
    data_dir: str = ""
    """Folder of keys, files and the embedded database; `caudex doctor` shows the default. A
    relative path starts in the server's working directory."""
    cors_origins: list[Annotated[str, _ORIGIN]] | None = None
    """Exact origins that browsers may call from; by default local ones on a loopback address."""
    root_path: Annotated[str, _PREFIX_OF_PATHS] = ""
    """Path that a proxy serves Caudex under, as `/caudex`. The proxy passes on the whole path."""
    trusted_proxies: list[str] = []
    """CIDRs of proxies whose `X-Forwarded-For` is trusted."""
    allowed_hosts: list[Annotated[str, _HOST]] = []
    """Accepted names in `Host`, without the port, beside localhost. By default only localhost on a
    loopback address, else every name. `"*"` accepts every name."""
    max_requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Concurrent requests per process (one client address: at most half). Beyond that: 503."""
    hook_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Seconds that one call of an async hook may take; after that the caller gets a 503."""
    server_timing: bool | None = None
    """Send the header `Server-Timing`; by default only with `--reload` and `--plugin`."""
    plugins_dir: str = ""
    """Folder of one-file plugins."""
    plugin_files: list[str] = []
    """One-file plugins, as in `caudex serve --plugin`."""


class DatabaseConfig(Section, frozen=True, kw_only=True):
    """`[database]`: your PostgreSQL; without a url an embedded one is used.

    Timeouts are in seconds.
    """

    url: str = ""
    """libpq connection string, as `postgresql://user:password@host/name`."""
    direct_url: str = ""
    """Beside a transaction pooler: an address that LISTEN can use."""
    replica_url: str = ""
    """A streaming standby that answers some reads, see the plugin `replica`."""
    pool_size: Annotated[int, Meta(ge=1, le=500)] = 5
    """Maximum number of connections of each server process."""
    statement_timeout: _Seconds = 10.0
    """How long one statement may run (in a stream: one batch)."""
    lock_timeout: _Seconds = 3.0
    """How long a statement waits for a lock."""
    pool_timeout: _Seconds = 4.0
    """How long a request waits for a connection."""
    wait: _Seconds = 30.0
    """How long a start waits for the database."""
    prepare: bool = True
    """Use prepared statements; `false` behind a pooler that cannot."""
    embedded_port: int | None = None
    """Set by the process that runs the embedded server, never in a file."""


class LogConfig(Section, frozen=True, kw_only=True):
    """`[log]`: level and format."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""
    format: Literal["auto", "json", "pretty"] = "auto"
    """`auto` is pretty on a terminal and JSON elsewhere."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of the configuration; a plugin's own table is checked when the plugin is loaded."""

    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    log: LogConfig = LogConfig()
    services: dict[str, str] = {}
    plugins: dict[str, dict[str, Any]] = {}
    source: str = ""
    variables: dict[str, dict[str, str]] = {}
    """The environment variables that values come from, by table (`plugins.auth`) and key."""

    @property
    def process_count(self) -> int:
        """Server processes of one start: `[server] workers` as a number."""
        workers = self.server.workers
        if workers != "auto":
            return workers
        spare_cores = 0 if self.database.url else 1  # the embedded PostgreSQL needs one
        return min(max(1, _count_cores() - spare_cores), _MAX_PROCESSES)


def _count_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
