"""Who acts, and the accounts behind them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from kernel.contracts.actor import Actor, Delegation
from kernel.contracts.services import ServiceKey

if TYPE_CHECKING:
    from kernel.contracts.statements import Reader


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
        makes one for an actor with a delegation: see `issue_delegated_token`.
        """
        ...

    def relation(self) -> tuple[str, str]:
        """Schema and table that `core:users` links may reference (primary key `id uuid`)."""
        ...


@runtime_checkable
class DelegatingIdentity(Protocol):
    """What a provider of IDENTITY does beside, that keeps workers from acting for a user for ever.

    It sets `Actor.delegation` for who comes with a token that it gave, and publishes the ids of
    users whose tokens it withdrew under REVOKED.
    """

    async def issue_delegated_token(self, user_id: str, delegation: Delegation) -> str:
        """A token like that of `Identity.token`, which is good until `delegation.expires`, and
        whose own delegation ends when this one does.

        Raises NotFound for an unknown user, and where the delegation was withdrawn.
        """
        ...


async def issue_delegated_token(identity: Identity, user_id: str, delegation: Delegation) -> str:
    """See `DelegatingIdentity.issue_delegated_token`; a provider that knows no delegations gives a
    token for as long."""
    if isinstance(identity, DelegatingIdentity):
        return await identity.issue_delegated_token(user_id, delegation)
    return await identity.token(user_id, delegation.expires - time.time())


class Sessions(Protocol):
    """Begins sessions for those who have shown otherwise than by a password who they are."""

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """Begin a session and return what a login answers: tokens and user, as JSON.

        Raises Unauthenticated for an account that is disabled or gone.
        """
        ...


IDENTITY = ServiceKey[Identity]("identity")
SESSIONS = ServiceKey[Sessions]("sessions")
