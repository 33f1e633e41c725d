"""Plugins, routes, permissions and manifest sections of this server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from kernel.contracts.access import Permission
from kernel.contracts.base import ServiceKey

if TYPE_CHECKING:
    from kernel.hooks.plugin import ManifestSection
    from kernel.web.http import Route


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that was found; `state` is on, off or degraded, `origin` where it comes from."""

    name: str
    version: str
    state: str
    origin: str
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Keys that its table of the configuration may have."""
    configured: tuple[str, ...] = ()
    """Those that it has; never the values."""
    note: str = ""


class TaskInfo(msgspec.Struct, frozen=True):
    """A background task; `state` is starting, running, standby, failing or failed.

    A task on standby runs in another process. One that failed is tried every five minutes.
    `failures` counts those since it last ran without one. `error` is the class of the last one and
    where it was raised.
    """

    name: str
    state: str
    failures: int = 0
    error: str = ""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `name` is `caudex_<plugin>_<what>`, with its unit at the end (`_seconds`).

    A counter only grows while the process runs. `shared` numbers are the whole deployment's, from
    the database: every process measures the same.
    """

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = {}
    kind: Literal["gauge", "counter"] = "gauge"
    shared: bool = False


class Registry(Protocol):
    """Fixed once the server has loaded its plugins."""

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin found, on or off, those that are on in dependency order."""
        ...

    @property
    def boot_seconds(self) -> Mapping[str, float]:
        """Seconds to import, create and start each plugin."""
        ...

    @property
    def tasks(self) -> Mapping[str, Sequence[TaskInfo]]:
        """The background tasks of each plugin that is on, in this process."""
        ...

    @property
    def routes(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs."""
        ...

    @property
    def permissions(self) -> Sequence[Permission]:
        """Permission keys on `core` that plugins registered."""
        ...

    @property
    def manifest_sections(self) -> Sequence[tuple[str, ManifestSection]]:
        """(plugin, section) pairs: the top-level manifest keys that plugins understand."""
        ...

    @property
    def database_url(self) -> str:
        """The libpq connection string of the database, for tools such as pg_dump. A secret.

        It bypasses a pooler (`database.direct_url`), where sessions share settings.
        """
        ...

    @property
    def port(self) -> int | None:
        """Port of the embedded PostgreSQL, or None where it is not embedded."""
        ...


REGISTRY = ServiceKey[Registry]("registry")
