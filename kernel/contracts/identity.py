"""Who acts, and the accounts behind them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from kernel.contracts.services import ServiceKey

if TYPE_CHECKING:
    from kernel.contracts.statements import Reader


MANDATE: Final = 8 * 86_400.0
"""Seconds after something that users do themselves, a call or a job, in which workers may act for
them: the longest job, and a day in which it begins."""

WITHDRAWN: Final = "mandates"
"""Topic of NEWS: the id of a user whose tokens for workers no longer hold, so that nobody who
remembers one hands it out."""


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a worker act for a user. Times are in seconds since 1970.

    `expires` ends the token at hand; `ends` all that is got by it, tokens of jobs too. `mark` is
    the provider's own, by which it knows whether the mandate was withdrawn; empty for a new one.
    """

    expires: float
    ends: float
    mark: str = ""


def new_mandate(seconds: float) -> Mandate:
    """One that begins now, with a token for `seconds`.

    It ends at a full hour, so that what a user does within one has the same end.
    """
    now = time.time()
    expires = math.floor(now) + math.ceil(seconds)
    return Mandate(expires=expires, ends=max(expires, (now + MANDATE) // 3600 * 3600))


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf something happens; `user_id` is None for the server itself.

    `mandate` is None where it is who acts that asks, and not a worker with a token of `token` or
    `entrust`.
    """

    user_id: str | None
    username: str = ""
    session_id: str | None = None
    request_id: str = ""
    address: str = ""
    mandate: Mandate | None = None


def server_actor(request_id: str = "") -> Actor:
    """The server acting for itself."""
    return Actor(user_id=None, username="server", request_id=request_id)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as others see it. `created_at` is RFC 3339 text that ends in `+00:00`."""

    id: str
    username: str
    email: str | None
    display_name: str | None
    created_at: str
    disabled: bool = False


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom another system vouches for; `email` only where it is verified there."""

    username: str
    email: str | None = None
    display_name: str | None = None


class Identity(Protocol):
    """What other subsystems need to know of accounts."""

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        """Return the account with this id (any text; a malformed id is simply unknown).

        Within a transaction give it as `reader`: whoever holds a connection and waits for a second
        one waits for others who do the same.
        """
        ...

    async def find(self, username: str) -> User | None:
        """Return the account with this username, without regard to case; where people can sign in
        by their email address, that will do as well."""
        ...

    async def find_email(self, email: str) -> User | None:
        """Return the account with this email, without regard to case.

        Whoever registers names an email without a proof: it says who somebody is only where
        accounts are made by admins.
        """
        ...

    async def users(self) -> list[User]:
        """Every account by username."""
        ...

    async def add(self, actor: Actor, person: Person) -> User:
        """Make an account that no password opens, for who signs in by other means.

        Raises BadRequest for a name that is taken or none; Forbidden while there is no account:
        the first one is the admin of everything, and made on purpose.
        """
        ...

    async def token(self, user_id: str, seconds: float) -> str:
        """An access token for calls that the server makes on a user's behalf.

        Good for `seconds`, ended with the account. Raises NotFound for an unknown user. Nobody
        makes one for an actor with a mandate: see `entrust`.
        """
        ...

    def relation(self) -> tuple[str, str]:
        """Schema and table that `core:users` links may reference (primary key `id uuid`)."""
        ...


@runtime_checkable
class Mandates(Protocol):
    """What a provider of IDENTITY does beside, that keeps workers from acting for a user for ever.

    It sets `Actor.mandate` for who comes with a token that it gave, and publishes the ids of users
    whose tokens it withdrew under WITHDRAWN.
    """

    async def entrust(self, user_id: str, mandate: Mandate) -> str:
        """A token like that of `Identity.token`, which is good until `mandate.expires`, and whose
        own mandate ends when this one does.

        Raises NotFound for an unknown user, and where the mandate was withdrawn.
        """
        ...


async def entrust(identity: Identity, user_id: str, mandate: Mandate) -> str:
    """See `Mandates.entrust`; a provider that knows no mandates gives a token for as long."""
    if isinstance(identity, Mandates):
        return await identity.entrust(user_id, mandate)
    return await identity.token(user_id, mandate.expires - time.time())


class Sessions(Protocol):
    """Begins sessions for those who have shown otherwise than by a password who they are."""

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """Begin a session and return what a login answers: tokens and user, as JSON.

        Raises Unauthenticated for an account that is disabled or gone.
        """
        ...


IDENTITY = ServiceKey[Identity]("identity")
SESSIONS = ServiceKey[Sessions]("sessions")
