"""What a plugin is: a class with a name, what it needs, and hook implementations."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import click
import msgspec
import pluggy

from kernel.contracts.base import ServiceKey
from kernel.hooks import NAMESPACE
from kernel.toolkit.tasks import Tasks

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from kernel.hooks.services import Services

__all__ = [
    "KERNEL_API", "Command", "Context", "DatabaseQuery", "Finding", "Health", "ManifestSection",
    "Middleware", "NoConfig", "OpenServices", "Plugin", "Provider", "for_subjects", "hookimpl",
    "provide",
]  # fmt: skip

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

KERNEL_API = 1
"""Version of what `caudex` exports; raised when a plugin written against it could break."""

hookimpl = pluggy.HookimplMarker(NAMESPACE)
"""Marks a method as the implementation of the hook that has its name."""

Middleware = Callable[["ASGIApp"], "ASGIApp"]
"""Wraps an ASGI application in another."""


class NoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of a plugin without settings."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment, as far as a plugin needs it."""

    data_dir: Path
    host: str
    port: int
    loopback: bool
    config_file: str = ""
    """The file that the configuration was read from, or an empty text."""
    public: bool = False
    """Whether other machines can reach the server, directly or through a trusted proxy."""
    notices: list[str] = []
    """Lines that `caudex serve` prints once the server has started; add to it in `lifespan`."""


class Plugin:
    """Base class of every plugin; one instance for each application.

    `requires` names services without which it cannot work, `uses` optional ones that it asks for
    with `services.find`: their providers start before it and end after it. `finds` names services
    that it looks up only after the start, in a handler for instance; they do not affect the order.
    `name` is its folder, its config table `[plugins.<name>]` and its SQL schema
    `caudex_<name>`. `migrations` is the folder of its numbered `.sql` files, by default the one
    beside the module.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    kernel_api: ClassVar[int] = KERNEL_API
    requires: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    uses: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    finds: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    hookspecs: ClassVar[ModuleType | None] = None
    migrations: ClassVar[Path | None] = None

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    @cached_property
    def tasks(self) -> Tasks:
        """Starts background tasks: `self.tasks.every(60, self._sweep, "sweep")`."""
        return Tasks(self.name)


class Provider(msgspec.Struct, frozen=True):
    """A factory for a service key; made by `provide`, which checks the types."""

    key: ServiceKey[Any]
    factory: Callable[[Services], Any]


def provide(
    key: ServiceKey[T],
    factory: Callable[[Services], T] | Callable[[Services], AbstractAsyncContextManager[T]],
) -> Provider:
    """Provide `factory` as an implementation of `key`; an async context manager is kept open."""
    return Provider(key, factory)


def for_subjects(*patterns: str) -> Callable[[F], F]:
    """Limit a hook implementation to subjects: `crm.contacts`, `crm.*`, `core.*`.

    Without it `record_writing`, `event_recorded` and `event_committed` get every subject.
    """

    def mark(function: F) -> F:
        function.caudex_subjects = patterns  # type: ignore[attr-defined]
        return function

    return mark


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """State of one subsystem; `ready` False keeps the server out of a load balancer.

    `detail` is for users, in `GET /api/v1/status`. `problems` are sentences without a name
    or a value, which `/health/ready` shows to every caller.
    """

    name: str
    state: Literal["Online", "Offline", "Starting", "Stopping", "Error"] = "Online"
    ready: bool = True
    detail: dict[str, Any] = {}
    problems: tuple[str, ...] = ()


DatabaseQuery = Callable[..., str | None]
"""Reads the database for `diagnose`: `query(statement, *arguments)` returns the first value of the
first row as text; None where there is no row, no such table, or the database does not answer."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `caudex doctor`; a warning and a failure say what to do.

    With a failure the command exits with status 1.
    """

    name: str
    text: str
    state: Literal["ok", "warn", "fail"] = "ok"


class ManifestSection(msgspec.Struct, frozen=True):
    """A top-level key of manifests and the JSON Schema (2020-12) of its value.

    A `$ref` leads to the schema's own `$defs`, a `pattern` has no look-around. `check` reports what
    a schema cannot express, for a value that fits it: (place, sentence) pairs, the place within
    the value, as in `[0].schedule`. It runs in a thread, one call at a time.
    """

    key: str
    schema: Mapping[str, Any]
    check: Callable[[Any], Iterable[tuple[str, str]]] | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A subcommand of `caudex`; `parameters` are click's options and arguments.

    `run(open_services, **parameters)` returns the exit status. `async with open_services() as s:`
    connects to the database (or attaches to a running server's) and builds the services. With
    `needs_services` False the database runs, is not touched, and only REGISTRY and
    DATABASE_SERVER are available. With `needs_plugins` False the command also runs where a plugin
    does not load, with `needs_configuration` False where the configuration cannot be read, too;
    `REGISTRY.with_plugins` then raises the reasons. `actions` are subcommands, as in
    `users create`; `run` is what the command does without one, if anything.
    """

    name: str
    help: str
    run: Callable[..., Coroutine[Any, Any, int]] | None = None
    parameters: Sequence[click.Parameter] = ()
    actions: Sequence[Command] = ()
    needs_services: bool = True
    needs_plugins: bool = True
    needs_configuration: bool = True


OpenServices = Callable[[], AbstractAsyncContextManager["Services"]]
