"""What all contracts use: actors, events, keys of services, and what plugins declare."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    Protocol,
    TypeGuard,
    TypeVar,
    get_args,
)

import msgspec

if TYPE_CHECKING:
    import click
    from starlette.types import ASGIApp

__all__ = [
    "MAX_DELEGATION", "NOTHING", "REVOKED_DELEGATIONS", "Actor", "Change", "Command", "Context",
    "DatabaseQuery", "Delegation", "Event", "Finding", "Health", "Limits", "ManifestSection",
    "Middleware", "OpenServices", "Provider", "ServiceKey", "Services", "new_delegation", "provide",
    "server_actor", "supports",
]  # fmt: skip

T = TypeVar("T")

MAX_DELEGATION: Final = 8 * 86_400.0
"""Seconds for which workers may act on behalf of a user after the user's own call or job: the
longest job (7 days), and one day in which it starts."""

REVOKED_DELEGATIONS: Final = "delegations"
"""Topic of NOTIFICATIONS: the id of a user whose delegations were revoked. A plugin that caches
tokens of `issue_delegated_token` drops those of this user."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """Lets a worker act on behalf of a user (RFC 8693, 1.1). Times are in seconds since 1970.

    `app_id` is the app of the worker. Only routes with `Route.workers` accept its token, for this
    app and, with grants of a core admin, for others. `expires` is the end of this token; `ends` is
    the end of every token that is derived from it, those of jobs included. `epoch` is the
    provider's own text: it changes when the user's delegations are revoked. It is empty in a new
    delegation.
    """

    app_id: str
    expires: float
    ends: float
    epoch: str = ""


def new_delegation(app_id: str, seconds: float) -> Delegation:
    """Make a delegation that begins now, for a worker of an app, with a token for `seconds`.

    It ends at a full hour, so that all requests within an hour share one delegation.
    """
    now = time.time()
    expires = math.floor(now) + math.ceil(seconds)
    ends = max(expires, (now + MAX_DELEGATION) // 3600 * 3600)
    return Delegation(app_id=app_id, expires=expires, ends=ends)


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True):
    """Narrows what an actor may do to a part of its user's rights. Authenticators set it.

    `key` is the id of the API key that the request came with, empty for other credentials. `apps`
    are the ids of the apps that may be used; `core` is for routes without an app. `permissions` are
    `<app>:<key>`, where `*` is any entity or action, and `<app>:rpc`, `<app>:jobs` and
    `<app>:*`. None narrows nothing. Where both are given, both must allow.
    """

    key: str = ""
    apps: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None

    @property
    def narrow(self) -> bool:
        """Whether some right of the user may be missing."""
        return self.apps is not None or self.permissions is not None


NOTHING: Final = Limits(apps=())
"""The limits of an actor that may do nothing on behalf of its user."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The party that performs an operation; `user_id` is None for the server itself.

    `delegation` is set for a worker that sends a token of `issue_delegated_token`. It is None for a
    user that sends a token of a session. `door` is the app through whose host the credentials may
    be used, and only there; None for the server's own host. `limits` are those of what the request
    came with; a plugin passes them to ACCESS with `user_id`.
    """

    user_id: str | None
    username: str = ""
    session_id: str | None = None
    request_id: str = ""
    address: str = ""
    delegation: Delegation | None = None
    limits: Limits | None = None
    door: str | None = None


def server_actor(request_id: str = "") -> Actor:
    """Make the actor of the server itself."""
    return Actor(user_id=None, username="server", request_id=request_id)


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> datetime:
    return datetime.now(UTC)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a record of an app changed, or the system did (app `core`).

    `operation` is INSERT, UPDATE or DELETE for records, and a word such as LOGIN_FAILED for `core`.
    `id` is unique, and the same as that of the `Change` before it. `time` is when the event was
    described, in UTC; the commit comes later. `old` and `new` are JSON text. For records they are
    what the API shows. `old` is set if a hook takes part in the transaction of the write, and if
    an observer asks for it: `@for_subjects("crm.contacts", old=True)`.
    """

    app_id: str
    entity: str
    operation: str
    actor: Actor
    record_id: str | None = None
    old: bytes | None = None
    new: bytes | None = None
    id: str = msgspec.field(default_factory=_new_id)
    time: datetime = msgspec.field(default_factory=_now)

    @classmethod
    def core(
        cls,
        entity: str,
        operation: str,
        actor: Actor,
        record_id: str | None = None,
        *,
        old: object = None,
        new: object = None,
    ) -> Event:
        """Describe what happened to the system; `old` and `new` are encoded unless they are None.

        None of them may hold a secret: events are kept in the audit trail.
        """
        return cls(
            app_id="core",
            entity=entity,
            operation=operation,
            actor=actor,
            record_id=record_id,
            old=None if old is None else msgspec.json.encode(old),
            new=None if new is None else msgspec.json.encode(new),
        )

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"


class Change(msgspec.Struct, kw_only=True):
    """A record about to be written; a hook may change `values` (field name to JSON value).

    `action` is create, update or delete. `values` is empty for a delete, `record_id` None for a
    create. `old` is the record before an update or a delete, as JSON text. `id` is that of the
    `Event` that follows, `time` is in UTC.
    """

    app_id: str
    entity: str
    action: str
    actor: Actor
    record_id: str | None = None
    values: dict[str, Any] = {}
    old: bytes | None = None
    id: str = msgspec.field(default_factory=_new_id)
    time: datetime = msgspec.field(default_factory=_now)

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"


class ServiceKey(Generic[T]):
    """The name of a service, carrying the Protocol that its provider satisfies."""

    __slots__ = ("__orig_class__", "name")

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def kind(self) -> Any:
        """The type that the key was made with, such as a Protocol; `object` without one."""
        declared = getattr(self, "__orig_class__", None)
        return object if declared is None else get_args(declared)[0]

    @property
    def members(self) -> Sequence[str]:
        """The members that the Protocol declares; none for another type."""
        parts: tuple[type[Any], ...] = getattr(self.kind, "__mro__", ())
        names = [name for part in parts if _is_protocol(part) for name in vars(part)]
        return [name for name in names if not name.startswith("_")]

    def __repr__(self) -> str:
        return f"ServiceKey({self.name!r})"


def _is_protocol(kind: type[Any]) -> bool:
    """Whether a type is a Protocol with members of its own."""
    return getattr(kind, "_is_protocol", False) and kind not in (Protocol, Generic)


class Services(Protocol):
    """Finds services by their keys, for factories, hooks and handlers."""

    def get(self, key: ServiceKey[T]) -> T:
        """Return a service. Raises LookupError before it is built: ask in the handler."""
        ...

    def find(self, key: ServiceKey[T]) -> T | None:
        """Return a service, or None where it is not available."""
        ...

    def provider(self, name: str) -> str | None:
        """Return the plugin that provides a key, or None.

        A plugin replaces the kernel where it is chosen or preferred. Raises BootError where the
        operator has to choose, or chose a plugin that does not provide the key.
        """
        ...

    def offered_by(self, plugin: str) -> list[str]:
        """Return the names of the keys that a plugin provides, chosen or not."""
        ...

    def wrapped_by(self, plugin: str) -> list[str]:
        """Return the names of the keys that a plugin wraps."""
        ...

    def build_early(self, key: ServiceKey[T]) -> T | None:
        """Build one service before the start, if it is provided; it must need no other."""
        ...


def supports(service: object, part: type[T]) -> TypeGuard[T]:
    """Whether a service has the methods of an optional part of its contract, as `FactorDemands`.

    A wrapper may pass them on by `__getattr__`, which `isinstance` ignores from Python 3.12 on.
    """
    return all(hasattr(service, name) for name in vars(part) if not name.startswith("_"))


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


class Provider(msgspec.Struct, frozen=True):
    """A factory for a service key; made by `provide`, which checks the types."""

    key: ServiceKey[Any]
    factory: Callable[..., Any]
    over: bool = False


def provide(
    key: ServiceKey[T],
    factory: Callable[[Services], T]
    | Callable[[Services], AbstractAsyncContextManager[T]]
    | Callable[[Services, T], T]
    | Callable[[Services, T], AbstractAsyncContextManager[T]],
    *,
    over: bool = False,
) -> Provider:
    """Provide `factory` as an implementation of `key`; an async context manager is kept open.

    With `over` the factory wraps the engine that the operator has chosen: it gets the services and
    that engine, and returns the replacement. Several plugins may wrap a key, in the order of their
    names; each one gets what the one before it returned.
    """
    return Provider(key, factory, over)


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
