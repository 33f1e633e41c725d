"""The server itself: its plugins and what they declare, its HTTP server, its database server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from kernel.contracts.access import ANY_USER, Needs, Permission
from kernel.contracts.base import ManifestSection, Middleware, ServiceKey

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from socket import socket

    from starlette.responses import Response
    from starlette.types import ASGIApp

    from kernel.config.settings import Config, ServerConfig
    from kernel.database.migrations import Migration
    from kernel.hooks.bus import HookBus
    from kernel.hooks.plugin import Plugin
    from kernel.hooks.services import Services

__all__ = [
    "DATABASE_SERVER", "HTTP_SERVER", "MAX_BODY", "PROCESS_MANAGER", "REGISTRY", "ColumnKind",
    "ConsolePage", "DatabaseServer", "Handler", "HttpServer", "LoadedPlugins", "Measure",
    "Message", "PageAction", "PageColumn", "PageSlot", "PageTable", "PluginInfo", "ProcessManager",
    "ProcessReady", "Registry", "Route", "ServerProcesses", "TaskInfo",
]  # fmt: skip


MAX_BODY = 50_000_000
"""Bytes of the body that a route accepts by default."""

Handler = Callable[..., Awaitable["Response"]]
"""Answers the requests of a route: `async def (request)`, or `async def (request, body)`."""


class Route(msgspec.Struct, frozen=True):
    """One method on one path: `Route("POST", "/api/v1/things/{id}", handler, needs=ANY_USER)`.

    With `body` the handler is `async def (request, body)` and gets the decoded JSON, without it
    `async def (request)`. A body has at most `max_body` bytes. `needs` is checked before the body
    is read, and so is `admit`, for what no `needs` expresses: `async def (request)`, which raises
    Forbidden. Only with `workers` a worker may call it on behalf of a user (see `Delegation`);
    others get 403.

    The rest documents the API and costs a request nothing: `returns` is the type of the reply's
    JSON and `status` its code, `query` a Struct with a field for each query parameter, `errors`
    the statuses of errors that do not follow from the rest, `openapi` members that replace those
    of the operation in an OpenAPI document.
    """

    method: str
    path: str
    handler: Handler
    needs: Needs
    body: Any = None
    max_body: int = MAX_BODY
    returns: Any = None
    status: int = 200
    query: type[msgspec.Struct] | None = None
    errors: tuple[int, ...] = ()
    openapi: Mapping[str, Any] = {}
    admit: Callable[..., Awaitable[None]] | None = None
    workers: bool = False


class Message(msgspec.Struct, frozen=True):
    """The reply of a route that acts: a sentence that says what was done."""

    message: str


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
    def server(self) -> ServerConfig:
        """The table `[server]` of the configuration."""
        ...

    @property
    def middleware(self) -> list[tuple[str, Middleware]]:
        """(plugin, middleware) pairs, outermost first; the first is the kernel's own, which writes
        the reply to every error. Others can be added in `plugins_loaded`, and not later."""
        ...

    def wrap_handlers(self, wrap: Callable[[str, Handler], Handler]) -> None:
        """Serve each route by what `wrap(plugin, handler)` returns; call it in `plugins_loaded`."""
        ...

    def plugin_of(self, module: str) -> str:
        """Return the plugin that a Python module belongs to, or an empty text."""
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

    @property
    def has_replica(self) -> bool:
        """Whether `database.replica_url` names a standby that answers some reads."""
        ...

    @property
    def port(self) -> int | None:
        """Port of the embedded PostgreSQL, or None where it is not embedded."""
        ...


class LoadedPlugins(Registry, Protocol):
    """Plugins that are loaded and not started, as `Registry.with_plugins` returns them."""

    @property
    def instances(self) -> Sequence[Plugin]:
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

    @property
    def config(self) -> Config:
        """The whole configuration. It holds secrets."""
        ...

    def adopt(self, config: Config) -> None:
        """Use the limits, origins, hosts, proxies and the log level of a configuration from now on.

        The rest of `config` must be the one that the server was started with.
        """
        ...

    def attach_database(self) -> bool:
        """Whether a database is configured, or the embedded one runs; it is not started.

        Raises BootError where no database is configured and no plugin runs one.
        """
        ...

    async def examine_database(self) -> tuple[int, int]:
        """Connect to the database and return PostgreSQL's version and the missing migrations.

        Raises BootError for one that does not answer or cannot be used.
        """
        ...

    def migrations(self) -> Sequence[Migration]:
        """Return the migrations of the plugins that are enabled, in dependency order."""
        ...


class ProcessReady(msgspec.Struct, frozen=True):
    """What a server process sends once it serves: the files that it has read since the time
    `began`, in seconds since the epoch, as `ProcessManager.files` returns them, and its notices."""

    files: Mapping[str, tuple[str, ...]]
    began: float
    notices: Sequence[str]


class ServerProcesses(msgspec.Struct, frozen=True, kw_only=True):
    """The processes to run. `target` runs one in a new process and sends a `ProcessReady`, or a
    text that says why it does not start; it ends when the pipe breaks. `count` is their number."""

    target: Callable[[Connection], None]
    count: int
    listener: socket
    announce: Callable[[Sequence[str]], None]
    """Called once with the notices of the first process."""
    look: Callable[[], object]
    """To be called a few times a second on the main thread."""
    ending: Sequence[int]
    """Signals that end the server; the processes get other ones passed on."""
    reload: bool = False
    """Start the process again when a file changes."""


class ProcessManager(Protocol):
    """Runs several server processes, or one that is started again when a file changes.

    It is built early, as an `HttpServer`, on the main thread of the parent of the processes.
    """

    def files(self, plugins: LoadedPlugins) -> Mapping[str, tuple[str, ...]]:
        """Return folders of files that a start reads, each with the endings of their names."""
        ...

    def run(self, server: ServerProcesses, ready: ProcessReady) -> int:
        """Run until a signal and return the exit status; `ready` is what the parent has read."""
        ...


class HttpServer(Protocol):
    """Answers HTTP for an application of ASGI 3 (a callable, no coroutine function to detect).

    `caudex serve` binds the sockets, handles signals and runs one in the event loop of each server
    process. It is built first of all services, so its factory must need no other one and be no
    context manager. It needs no lifespan messages.

    A server may send a reply with one system call: its `send` then has the method
    `send_whole(status, headers, body) -> bool`, beside being called with messages. Headers are
    pairs of bytes, and the names are in lower case. It returns False, and has sent nothing, where
    the reply must go as messages. For its own refusals it finds the id of the request in the scope,
    as text under `caudex.request_id`.
    """

    async def serve(
        self,
        app: ASGIApp,
        sockets: Sequence[socket],
        started: Callable[[], object],
        *,
        drain: float,
    ) -> None:
        """Accept connections on bound sockets, and call `started` once they are accepted.

        Returns after `stop`, once the last request is answered. Requests that run for longer than
        `drain` seconds are cancelled. Closes the sockets at the end, also where it is cancelled.
        """
        ...

    def stop(self) -> None:
        """Accept no more requests; it is called after `started`, in the event loop."""
        ...


class DatabaseServer(Protocol):
    """A PostgreSQL that this deployment runs itself; used when no database url is configured."""

    def start(self) -> str:
        """Start it and return a libpq connection string. Blocks; main thread only."""
        ...

    def attach(self) -> str | None:
        """Return the connection string of the server that another process runs, if any."""
        ...

    def ensure_running(self) -> None:
        """Restart a server that crashed, with backoff; cheap while it runs."""
        ...

    def stop(self) -> None:
        """Shut it down; connections should be closed before."""
        ...

    def program(self, name: str) -> Path:
        """A client program of the same version: `pg_dump`, `psql`. Raises BootError."""
        ...

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, if any."""
        ...

    @property
    def notice(self) -> str:
        """Where the data is, and warnings about it, for the banner at the start."""
        ...


REGISTRY = ServiceKey[Registry]("registry")
HTTP_SERVER = ServiceKey[HttpServer]("http_server")
PROCESS_MANAGER = ServiceKey[ProcessManager]("process_manager")
DATABASE_SERVER = ServiceKey[DatabaseServer]("database_server")


PageSlot = Literal["page", "tile", "record", "field", "action", "palette"]
"""Where a page is shown: in the navigation, on the start page, on records, in place of a field's
values, in a dialog for chosen records, or in a dialog from the palette."""

ColumnKind = Literal["text", "number", "time", "code", "state", "json"]
"""How the console draws the values of a column."""


class PageColumn(msgspec.Struct, frozen=True):
    """A column of a table: the member of each row, its heading, and how it is drawn."""

    name: str
    title: str = ""
    kind: ColumnKind = "text"


class PageTable(msgspec.Struct, frozen=True):
    """A table that shows the array which a route returns: `PageTable("GET /api/v1/guests")`.

    `rows` names the member of the reply that holds the array, where the reply is an object. Without
    `columns` the members of the first row are shown.
    """

    route: str
    columns: tuple[PageColumn | str, ...] = ()
    rows: str = ""


class PageAction(msgspec.Struct, frozen=True):
    """A button. The form is made from the body of the route; `confirm` is asked first.

    In the path of `route`, `{id}` is replaced by that member of a row: such an action is shown on
    each row.
    """

    title: str
    route: str
    confirm: str = ""


class ConsolePage(msgspec.Struct, frozen=True):
    """A page of a plugin. `needs` is what a caller must hold to see it in the navigation.

    `module` is a JavaScript module in the folder `console` beside the plugin's Python module. Its
    export `default` is a component. Without `module` the page shows `text`, `table` and `actions`.
    The slots `record`, `action` and `field` are for what `on` names: `crm.deals`, `*.*.colour`.
    """

    title: str
    icon: str = "plug"
    needs: Needs = ANY_USER
    text: str = ""
    table: PageTable | None = None
    actions: tuple[PageAction, ...] = ()
    module: str = ""
    slot: PageSlot = "page"
    on: tuple[str, ...] = ()
