"""Every hook of the kernel.

A plugin marks its implementation with `@hookimpl` and names the arguments that it needs. Sync or
async is fixed here. Each hook has a kind, which says how implementations are called:

- *collect*: sync; every result counts.
- *first*: the first answer that is not None counts.
- *gather*: async; every result counts.
- *emit*: async, in order; an exception stops the rest and is raised.
- *notify*: async, isolated; a failure is counted and logged with the plugin's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pluggy

from kernel.contracts.access import Action, Permission
from kernel.contracts.apps import App, Entity, InstallPlan
from kernel.contracts.base import (
    Actor,
    Change,
    Command,
    DatabaseQuery,
    Event,
    Finding,
    Health,
    ManifestSection,
    Middleware,
    Provider,
    Services,
)
from kernel.contracts.identity import User
from kernel.contracts.server.routes import Request, Route
from kernel.contracts.statements import Transaction
from kernel.contracts.workers import Runtime

NAMESPACE = "caudex"
"""The project name of pluggy's markers."""

hookspec = pluggy.HookspecMarker(NAMESPACE)
"""Marks a function as a hook, in the `hookspecs.py` of the plugin that owns and calls it."""

hookimpl = pluggy.HookimplMarker(NAMESPACE)
"""Marks a method as the implementation of the hook that has its name."""

F = TypeVar("F", bound=Callable[..., Any])


def for_subjects(*patterns: str, old: bool = False) -> Callable[[F], F]:
    """Limit a hook implementation to subjects: `crm.contacts`, `crm.*`, `core.*`.

    Without it `record_writing`, `event_recorded` and `event_committed` get every subject. With
    `old` an observer gets the record before each update and delete, regardless of other listeners.
    For that the write needs a transaction, which is slower than one statement. Raises TypeError
    without a subject.
    """
    if not patterns or callable(patterns[0]):
        raise TypeError('name the subjects: @for_subjects("crm.contacts")')

    def mark(function: F) -> F:
        function.caudex_subjects = patterns  # type: ignore[attr-defined]
        function.caudex_old = old  # type: ignore[attr-defined]
        return function

    return mark


def subjects_from(method: str, *, old: bool = False) -> Callable[[F], F]:
    """Limit a hook implementation to the subjects that a method of the plugin returns.

    `def method(self) -> Sequence[str]` returns patterns as for `@for_subjects`, such as those of
    its configuration, or of the manifests that it has read. It is called at the load and for each
    write, and must be quick. Raises TypeError without a name, as in
    a bare `@subjects_from`.
    """
    if callable(method):
        raise TypeError('name a method of the plugin: @subjects_from("_subjects")')

    def mark(function: F) -> F:
        function.caudex_subjects_from = method  # type: ignore[attr-defined]
        function.caudex_old = old  # type: ignore[attr-defined]
        return function

    return mark


RETURNS = {"authenticate": Actor, "session_settings": Mapping, "record_scope": Mapping,
           "worker_environment": Mapping, "health": Health,
           "lifespan": AbstractAsyncContextManager}  # fmt: skip
"""The type of each result that is not None; another one fails the call."""


@hookspec
def provide_services() -> Sequence[Provider]:
    """Provide services, as `provide(KEY, factory)`. Collect, at load.

    Factories run at the start, only for chosen providers, in dependency order.
    """
    raise NotImplementedError


@hookspec
def register_routes(services: Services) -> Sequence[Route]:
    """Declare routes. Collect, at load; services are available once requests arrive.

    The same method and path twice is a boot error that names both plugins.
    """
    raise NotImplementedError


@hookspec
def register_middleware(services: Services) -> Sequence[Middleware]:
    """Wrap the application in pure ASGI middleware, outermost first. Collect, at load."""
    raise NotImplementedError


@hookspec
def register_permissions() -> Sequence[Permission]:
    """Declare keys that roles of `core`, or with `on="app"` of apps, can hold. Collect, at load."""
    raise NotImplementedError


@hookspec
def register_commands(services: Services) -> Sequence[Command]:
    """Add subcommands to `caudex`. Collect, at load; works without a database.

    REGISTRY is available at once, other services to a command that opens them.
    """
    raise NotImplementedError


@hookspec
def diagnose(query: DatabaseQuery) -> Sequence[Finding]:
    """Report findings to `caudex doctor`. Collect; nothing has been started.

    A BootError is shown as a failure. `query` reads one value of the database.
    """
    raise NotImplementedError


@hookspec
def register_manifest_section() -> ManifestSection | Sequence[ManifestSection]:
    """Accept top-level keys of manifests. Collect, at load; one plugin for each key.

    A schema is part of `GET /api/v1/manifest.schema.json` and checks every install. Read the
    value in `app_installing` with `plan.section(key)`, and those of installed apps at the start
    with `APPS.sections(key)`.
    """
    raise NotImplementedError


@hookspec
def plugins_loaded(services: Services) -> None:
    """Look at what all plugins contribute, and wrap it. Collect, at the end of the load.

    REGISTRY and HOOKS are available. Wrap here what you measure or trace, as with
    `REGISTRY.wrap_handlers`. Commands load the plugins, too.
    """


@hookspec
def address_binding() -> None:
    """End the processes that a killed server left, before this one binds its address. Collect;
    blocking.

    Called again, before the second and last try, if the address is in use. Nothing has been
    started. Not called for port 0, nor by commands other than `caudex serve`.
    """


@hookspec
def lifespan(services: Services) -> AbstractAsyncContextManager[None]:
    """Run as long as the server: entered in dependency order, left in reverse. Collect.

    Left at a signal, while the last requests are still answered: end streams and loops here,
    within 20 s; services and the database stay until both are done.
    """
    raise NotImplementedError


@hookspec
def app_of_host(host: str) -> str | None:
    """Name the app that a host belongs to. Collect; the first answer counts.

    `host` is the name in the header `Host`, in lower case, without port and trailing dot. Return
    None for a host of the server itself; raise BadRequest for one that is not served. The answer
    depends on the configuration only: it is remembered. An app's host is a door to this app: see
    `Route.app_hosts` and `Actor.door`. Must not block.
    """


@hookspec
async def authenticate(request: Request) -> Actor | None:
    """Identify the caller. First.

    Return None for credentials of another kind; raise Unauthenticated for invalid ones.
    """


@hookspec
def session_settings(actor: Actor) -> Mapping[str, str]:
    """Settings (`name.with_dot` to text) for the transaction of a write. Collect; every write.

    Read in the database with `current_setting('name.with_dot', true)`. Must not block. With such a
    plugin each write has a transaction of its own: they share no commit.
    """
    raise NotImplementedError


@hookspec
async def record_scope(actor: Actor, entity: Entity, action: Action) -> Mapping[str, Any] | None:
    """Narrow which records the caller may see, change or delete by a where-tree (as in
    POST …/query). Gather.

    The trees of all plugins are joined by `and`; None narrows nothing. Raising fails the request.
    A tree speaks for its plugin: it is judged over all records and fields that it reaches by links,
    whatever the caller may read of them, and by no tree of another entity.
    Not called for a create, nor for the new values of an update: `record_writing` checks those. A
    link that is written needs a target that the writer may read, so it is called with `read`.
    """


@hookspec
async def record_writing(tx: Transaction, change: Change) -> None:
    """Change the values of a write or refuse it, in its transaction. Emit.

    Raise BadRequest or Forbidden to refuse. Limit it with `@for_subjects`: other entities keep the
    one-statement path.
    """


@hookspec
async def event_recorded(tx: Transaction, event: Event) -> None:
    """Act in the transaction of an event. Emit: raising aborts the transaction.

    Limit it with `@for_subjects`: other subjects keep the one-statement path.
    """


@hookspec
async def event_committed(event: Event) -> None:
    """Act after an event is committed. Notify: never fails the request.

    All calls of one commit have 30 seconds together, or `[server] hook_timeout` where that is
    longer. Observers hear nothing of the events that are left then; the log says how many these
    are. A client that gives up changes nothing.
    """


@hookspec
async def app_planning(plan: InstallPlan) -> None:
    """Check what an install would do. Emit: raise BadRequest with the place of what is wrong.

    It is called for a plan that is only shown, and again in the transaction of the install, before
    its tables change. So write nothing here: what is made belongs into `app_installing`.
    """


@hookspec
async def app_changing(tx: Transaction, app_id: str) -> None:
    """Take part in an update of an app, before its tables change. Emit: raising rolls all back.

    Drop what PostgreSQL makes depend on the tables, such as a view; make it in `app_installing`.
    """


@hookspec
async def app_installing(tx: Transaction, plan: InstallPlan) -> None:
    """Take part in an install or update, after the tables exist. Emit: raising rolls all back."""


@hookspec
async def app_removing(tx: Transaction, app: App) -> None:
    """Take part in an uninstall, before the tables are dropped. Emit: raising rolls all back."""


@hookspec
async def account_created(tx: Transaction, user: User, first: bool) -> None:
    """Take part in a registration; `first` is True for exactly one account ever. Emit."""


@hookspec
async def account_closing(tx: Transaction, user: User, delete: bool) -> None:
    """Take part in the disabling or deletion of an account. Emit: raising keeps the account."""


@hookspec
async def worker_environment(app_id: str) -> Mapping[str, str]:
    """Environment variables for an app's worker. Gather; a later plugin's value wins.

    The values are hidden in what the worker writes: its log, its errors, replies of deploys.
    """
    raise NotImplementedError


@hookspec
def register_runtimes() -> Sequence[Runtime]:
    """Add languages that workers can be written in, asked in order. Collect, at the start."""
    raise NotImplementedError


@hookspec
async def health() -> Health:
    """State of a subsystem for `/health/ready` and `/api/v1/status`. Gather, 2 s at most."""
    raise NotImplementedError
