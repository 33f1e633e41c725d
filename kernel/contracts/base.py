"""What all contracts use: actors, events, keys of services, and requests that act once."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from kernel.contracts.statements import Transaction

__all__ = [
    "IDEMPOTENCY", "MAX_DELEGATION", "REVOKED", "Actor", "Answer", "Change", "Delegation", "Event",
    "Idempotency", "ServiceKey", "new_delegation", "server_actor",
]  # fmt: skip

T = TypeVar("T")

MAX_DELEGATION: Final = 8 * 86_400.0
"""Seconds for which workers may act on behalf of a user after the user's own call or job: the
longest job (7 days), and one day in which it starts."""

REVOKED: Final = "delegations"
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


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The party that performs an operation; `user_id` is None for the server itself.

    `delegation` is set for a worker that sends a token of `issue_delegated_token`. It is None for a
    user that sends a token of a session.
    """

    user_id: str | None
    username: str = ""
    session_id: str | None = None
    request_id: str = ""
    address: str = ""
    delegation: Delegation | None = None


def server_actor(request_id: str = "") -> Actor:
    """Make the actor of the server itself."""
    return Actor(user_id=None, username="server", request_id=request_id)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a record of an app changed, or the system did (app `core`).

    `old` and `new` are JSON text. For records they are what the API shows, and `old` is known
    only where the write ran in a transaction (see `record_writing`).
    """

    app_id: str
    entity: str
    operation: str
    actor: Actor
    record_id: str | None = None
    old: bytes | None = None
    new: bytes | None = None

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

    `values` is empty for a delete, `record_id` None for a create.
    """

    app_id: str
    entity: str
    action: str
    actor: Actor
    record_id: str | None = None
    values: dict[str, Any] = {}

    @property
    def subject(self) -> str:
        """`<app>.<entity>`, what `@for_subjects` patterns are matched against."""
        return f"{self.app_id}.{self.entity}"


class ServiceKey(Generic[T]):
    """The name of a service, carrying the Protocol that its provider satisfies."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"ServiceKey({self.name!r})"


class Answer(msgspec.Struct, frozen=True):
    """A reply of success, to give again."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Idempotency(Protocol):
    """Keeps the replies of requests by the key that the client chose."""

    async def once(
        self,
        actor: Actor,
        route: str,
        key: str,
        body: bytes,
        rights: str,
        work: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        """Run `work` in a transaction with the key, or return the answer of the first run.

        `route` names the installation of the app, the method, path and parameters; a key belongs to
        the user of the actor, without one to the server. `rights` says in any form what the caller
        may see of the reply: where it has changed, the reply is not given again. The caller checks
        the permission before. Raises BadRequest for another body under the key, and where the
        answer was not kept; Unavailable where the first run takes too long.
        """
        ...


IDEMPOTENCY = ServiceKey[Idempotency]("idempotency")
