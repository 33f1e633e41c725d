"""Accounts, and tokens by which the server acts for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.contracts.base import Actor, Delegation, ServiceKey

if TYPE_CHECKING:
    from kernel.contracts.statements import Reader

__all__ = [
    "IDENTITY", "SESSIONS", "AuthMode", "Identity", "Person", "Sessions", "SignInProvider", "User",
    "UserView",
]  # fmt: skip


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as others see it. `created_at` is RFC 3339 text that ends in `+00:00`."""

    id: str
    username: str
    email: str | None
    display_name: str | None
    created_at: str
    disabled: bool = False

    @property
    def view(self) -> UserView:
        """The account in replies."""
        return UserView(
            **msgspec.structs.asdict(self),
            display_name_camel=self.display_name,
            created_at_camel=self.created_at,
        )


class UserView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account in replies: members in both spellings, `disabled` only where it is true."""

    id: str
    username: str
    email: str | None
    display_name: str | None
    created_at: str
    display_name_camel: str | None = msgspec.field(name="displayName")
    created_at_camel: str = msgspec.field(name="createdAt")
    disabled: bool = False


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person that another system has authenticated; `email` only if it is verified there."""

    username: str
    email: str | None = None
    display_name: str | None = None


class SignInProvider(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A system outside that signs users in; a browser begins at `url`, a path of this server."""

    id: str
    display_name: str
    url: str


class AuthMode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Reply of `GET /api/v1/auth/mode`: how a client signs in. Every member is always present.

    `setup_required`: any client may create the first account now.
    """

    auth_required: bool = True
    setup_required: bool = False
    password_login_enabled: bool = True
    magic_link_enabled: bool = False
    providers: Sequence[SignInProvider] = ()


class Identity(Protocol):
    """What other subsystems need to know of accounts.

    A provider sets `Actor.delegation` for requests with a token of `issue_delegated_token`. It
    publishes the ids of users whose tokens it revoked under REVOKED.
    """

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        """Return the account with this id (any text; a malformed id is simply unknown).

        Within a transaction pass it as `reader`: transactions that wait for a second connection can
        block each other.
        """
        ...

    async def find(self, username: str) -> User | None:
        """Return the account with this username, ignoring case; also by email address if users can
        sign in with it."""
        ...

    async def find_email(self, email: str) -> User | None:
        """Return the account with this email, ignoring case.

        A registration does not prove its email. It identifies a person only if admins create the
        accounts.
        """
        ...

    async def users(self) -> list[User]:
        """Every account by username."""
        ...

    async def add(self, actor: Actor, person: Person) -> User:
        """Create an account without a password, for a user that signs in by other means.

        Raises BadRequest for a name that is taken or invalid; Forbidden while there is no account:
        the first account is the admin of everything.
        """
        ...

    async def issue_delegated_token(self, user_id: str, delegation: Delegation) -> str:
        """Issue an access token for a worker that acts on behalf of a user.

        It expires with the delegation, and with the account. Raises NotFound for an unknown user,
        and for a delegation that was revoked.
        """
        ...

    def relation(self) -> tuple[str, str]:
        """Schema and table that `core:users` links may reference (primary key `id uuid`)."""
        ...


class Sessions(Protocol):
    """Begins sessions for users that were authenticated by other means, renews and ends them."""

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """Begin a session and return what a login answers: tokens and user, as JSON.

        Raises Unauthenticated for an account that is disabled or gone.
        """
        ...

    async def refresh(self, token: str, caller: Actor) -> bytes:
        """Return what a refresh answers, as JSON: an access token, and where tokens rotate the
        successor of the refresh token. Raises Unauthenticated.
        """
        ...

    async def logout(self, token: str, caller: Actor) -> None:
        """End the session of a refresh token. Raises Unauthenticated."""
        ...


IDENTITY = ServiceKey[Identity]("identity")
SESSIONS = ServiceKey[Sessions]("sessions")
