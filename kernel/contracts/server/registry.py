"""The plugins of a server and what they declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from kernel.contracts.access import Permission
from kernel.contracts.base import ManifestSection, Middleware, ServiceKey, Services
from kernel.contracts.server.hooks import HookBus
from kernel.contracts.server.routes import Handler, Route
from kernel.contracts.server.settings import Configuration

__all__ = [
    "REGISTRY", "Bundle", "DatabaseState", "LoadedPlugin", "LoadedPlugins", "Measure", "Migration",
    "PluginInfo", "Registry", "TaskInfo",
]  # fmt: skip


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that was found; `state` is on, off or degraded, `origin` where it comes from."""

    name: str
    version: str
    state: str
    origin: str
    provides: tuple[str, ...] = ()
    wraps: tuple[str, ...] = ()
    """Services whose engine it wraps (`provide(..., over=True)`)."""
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Keys that its table of the configuration may have."""
    configured: tuple[str, ...] = ()
    """Those that it has; never the values."""
    sources: Mapping[str, str] = {}
    """Where each of these comes from: an environment variable, or the path of the file."""
    note: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether it does not come with Caudex."""
        return self.origin not in ("built-in", "contrib")


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A package of plugins that comes with Caudex; each folder in it is a plugin."""

    origin: str
    """What `PluginInfo.origin` says of its plugins."""
    on_by_default: bool = False
    safe: Mapping[str, Mapping[str, Any]] = {}
    """Those of `caudex serve --safe`, with settings that it lays over the configured ones."""
    preferred: Mapping[str, str] = {}
    """Plugins that replace the kernel's own provider of a service while they are on, unless
    `[services]` selects."""


class TaskInfo(msgspec.Struct, frozen=True):
    """A background task; `state` is starting, running, standby, failing or failed.

    A task on standby runs in another process. One that failed is tried every five minutes.
    `failures` counts those since the last run without one. `error` is the class of the last one and
    its source location.
    """

    name: str
    state: str
    failures: int = 0
    error: str = ""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `name` is `caudex_<plugin>_<what>`, with the unit of `value` at the end
    (`_seconds`).

    A counter only grows while the process runs. `shared` numbers are the whole deployment's, from
    the database: every process measures the same.
    """

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = {}
    kind: Literal["gauge", "counter"] = "gauge"
    shared: bool = False


class DatabaseState(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL's version (`150018`) and the migrations, each as `plugin/0001_what.sql`."""

    version: int
    missing: Sequence[str]
    """Those that a start applies."""
    unknown: Sequence[str]
    """Those that a newer release has applied."""


class Migration(msgspec.Struct, frozen=True):
    """One file; `checksum` is the SHA-256 of its bytes.

    A file whose first line is `-- replaces: 0001_a.sql 0002_b.sql (0003_c.sql)` replaces these
    files. Where the ledger has them, `adoption` runs in its place: the file's neighbour
    `NAME.adopt.sql`, which changes what the old files made into what this one makes. Without a
    neighbour their tables stay as they are. Names in parentheses may be missing from the ledger.
    """

    plugin: str
    name: str
    text: bytes
    checksum: str
    replaces: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    """Those of `replaces` that an adopted database must have."""
    adoption: bytes = b""

    @property
    def key(self) -> tuple[str, str]:
        """Its primary key in the ledger."""
        return self.plugin, self.name


class LoadedPlugin(Protocol):
    """A plugin that is enabled: an object of a subclass of `Plugin`."""

    name: ClassVar[str]
    requires: ClassVar[tuple[ServiceKey[Any], ...]]
    uses: ClassVar[tuple[ServiceKey[Any], ...]]
    finds: ClassVar[tuple[ServiceKey[Any], ...]]
    migrations: ClassVar[Path | None]

    @property
    def config(self) -> Any:
        """Its configuration, of its type `Config`."""
        ...

    def on_reload(self, config: Any) -> Iterable[str]:
        """Apply a changed configuration; return the settings that need a restart."""
        ...


class Registry(Protocol):
    """The loaded plugins and what they declare; it does not change afterwards."""

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin found, on or off, those that are on in dependency order."""
        ...

    @property
    def failing(self) -> Mapping[str, str]:
        """Plugins whose lifespan or service failed while the server runs, each with the error and
        its place. A lifespan is begun again."""
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
    def config(self) -> Configuration:
        """The whole configuration. It holds secrets."""
        ...

    @property
    def middleware(self) -> list[tuple[str, Middleware]]:
        """(plugin, middleware) pairs, outermost first; the first is the kernel's own, which writes
        the reply to every error. Others can be added in `plugins_loaded`, and not later."""
        ...

    def wrap_handlers(self, wrap: Callable[[str, Handler], Handler]) -> None:
        """Serve each route by what `wrap(plugin, handler)` returns; call it in `plugins_loaded`."""
        ...

    def wrap_app_hosts(self, wrap: Middleware) -> None:
        """Serve requests that came through the host of an app by what `wrap(routes)` returns, an
        application within all middleware; call it in `plugins_loaded`."""
        ...

    def plugin_of(self, module: str) -> str:
        """Return the plugin that a Python module belongs to, or an empty text."""
        ...

    def blame(self, error: BaseException, called: str = "") -> Mapping[str, str]:
        """Return the fields `plugin`, `where` and `remedy` for the log line of an error.

        Of the plugins whose code ran the last one is named that does not come with Caudex, and
        without any `called`. Returns {} where no code of a plugin ran.
        """
        ...

    @property
    def reloads(self) -> bool:
        """Whether SIGHUP should reload the configuration; not where a terminal may send it."""
        ...

    def reread(self) -> tuple[LoadedPlugins, LoadedPlugins]:
        """Return this server, and its configuration read and loaded again; nothing starts.

        Only where it `reloads`. Raises BootErrors where a server would not start.
        """
        ...

    def with_plugins(self, enabled: Mapping[str, bool], *, to_serve: bool = False) -> LoadedPlugins:
        """Load the configuration again, with these plugins enabled or disabled; nothing starts.

        Raises BootErrors for mistakes; with `to_serve` also where a server would lack a part, such
        as a database.
        """
        ...

    @property
    def database_url(self) -> str:
        """The libpq connection string of the database, for tools such as pg_dump. A secret.

        It bypasses a pooler (`database.direct_url`), where sessions share settings.
        """
        ...


class LoadedPlugins(Registry, Protocol):
    """Plugins that are loaded and not started, as `Registry.with_plugins` returns them."""

    @property
    def instances(self) -> Sequence[LoadedPlugin]:
        """The plugins that are enabled, in dependency order."""
        ...

    @property
    def services(self) -> Services:
        """The providers of each service; none is built."""
        ...

    @property
    def bus(self) -> HookBus:
        """The implementations of hooks."""
        ...

    @property
    def owners(self) -> Mapping[str, str]:
        """Owners of names: `permission 'x'`, `command 'y'`, `manifest section 'z'`."""
        ...

    def adopt(self, config: Configuration) -> None:
        """Use the limits, origins, hosts, proxies and the log level of a configuration from now on.

        The rest of `config` must be the one that the server was started with.
        """
        ...

    def attach_database(self) -> bool:
        """Whether a database is configured, or the embedded one runs; it is not started.

        Raises BootError where no database is configured and no plugin runs one.
        """
        ...

    async def examine_database(self) -> DatabaseState:
        """Connect to the database and look at it, without a change.

        Raises BootError for one that does not answer or cannot be used.
        """
        ...

    @property
    def migrations(self) -> Sequence[Migration]:
        """The migrations of the plugins that are enabled, in dependency order."""
        ...


REGISTRY = ServiceKey[Registry]("registry")
