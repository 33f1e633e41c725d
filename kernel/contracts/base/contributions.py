"""What plugins contribute beside services: commands, findings, health, sections of manifests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .services import Services

if TYPE_CHECKING:
    import click
    from starlette.types import ASGIApp

__all__ = [
    "Command",
    "Context",
    "DatabaseQuery",
    "Finding",
    "Health",
    "ManifestSection",
    "Middleware",
    "OpenServices",
]

Middleware = Callable[["ASGIApp"], "ASGIApp"]
"""Wraps an ASGI application in another."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment, as far as a plugin needs it. `port` is 0 where the system chooses one."""

    data_dir: Path
    host: str
    port: int
    loopback: bool
    config_file: str = ""
    """The file that the configuration was read from, or an empty text."""
    public: bool = False
    """Whether other machines can reach the server, directly or through a trusted proxy."""
    processes: int = 1
    """How many server processes there are on this machine (`[server] workers`)."""
    notices: list[str] = []
    """Lines that `caudex serve` prints once the server has started; add to it in `lifespan`."""


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
    `users create`. `run` is called where none of them is given; None makes that an error.
    """

    name: str
    help: str
    run: Callable[..., Coroutine[Any, Any, int]] | None = None
    parameters: Sequence[click.Parameter] = ()
    actions: Sequence[Command] = ()
    needs_services: bool = True
    needs_plugins: bool = True
    needs_configuration: bool = True


OpenServices = Callable[[], AbstractAsyncContextManager[Services]]
"""Connects a command to the database and builds the services, for as long as the context lasts."""
