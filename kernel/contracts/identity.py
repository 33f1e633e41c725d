"""Accounts, tokens by which the server acts for them, and rules for the names of users."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, Literal, Protocol, runtime_checkable

import msgspec

from kernel.contracts.base import Actor, Delegation, Limits, ServiceKey
from kernel.contracts.statements import Reader
from kernel.errors import BadRequest

__all__ = [
    "IDENTITY", "SESSIONS", "UNPRINTABLE", "AccountKind", "AuthMode", "Directory",
    "DirectoryPolicy", "Identity", "Invitation", "MemberView", "Person", "Sessions",
    "SignInProvider", "User", "UserView", "clean_display_name", "clean_email", "clean_username",
    "fold_name",
]  # fmt: skip


AccountKind = Literal["person", "service"]
"""Whether a user signs in, or a program with API keys."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as others see it. `created_at` is RFC 3339 text that ends in `+00:00`.

    A service account signs in by API keys only.
    """

    id: str
    username: str
    email: str | None
    display_name: str | None
    created_at: str
    disabled: bool = False
    kind: AccountKind = "person"

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
    kind: AccountKind
    disabled: bool = False


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A user of an app in replies to the app's frontend and worker."""

    id: str
    username: str
    display_name: str | None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person that another system has authenticated; `email` only if it is verified there."""

    username: str
    email: str | None = None
    display_name: str | None = None


class SignInProvider(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An external system that signs users in; a browser begins at `url`, a path of this server."""

    id: str
    display_name: str
    url: str


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invite whose link a plugin may send. The holder of the link can make the account, once.

    `by` is the username of the core admin who invites; `expires` is RFC 3339 text.
    """

    id: str
    link: str
    email: str | None
    app: str | None
    role: str | None
    expires: str
    by: str


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
    """What other subsystems need to know about accounts.

    A provider sets `Actor.delegation` for requests with a token of `issue_delegated_token`. It
    publishes the ids of users whose tokens it revoked under REVOKED_DELEGATIONS.
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

    async def issue_delegated_token(
        self, user_id: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
        """Issue an access token for a worker that acts on behalf of a user.

        Requests with it have the `limits`. It expires with the delegation, with the account, and
        with the key that the limits name. Raises NotFound for an unknown user,
        and for a delegation that was revoked.
        """
        ...

    def relation(self) -> tuple[str, str]:
        """Schema and table that `core:users` links may reference (primary key `id uuid`)."""
        ...


class Sessions(Protocol):
    """Begins sessions for users that were authenticated by other means, renews and ends them."""

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """Begin a session and return the reply of a login: tokens and user, as JSON.

        Its tokens are good at the door of the caller. With `caller.session_id` it continues this
        session of the user, which must go on, and needs what that one needs. Raises
        Unauthenticated for an account that is disabled or deleted.
        """
        ...

    async def refresh(self, token: str, caller: Actor) -> bytes:
        """Return the reply of a refresh, as JSON: an access token and, if tokens rotate, the
        successor of the refresh token. Raises Unauthenticated.
        """
        ...

    async def logout(self, token: str, caller: Actor) -> None:
        """End the session of a refresh token. Raises Unauthenticated."""
        ...


DirectoryPolicy = Literal["all", "members", "admins"]
"""Which accounts a user sees: all; those that share an app with the user; only the own one.

Admins of any app see all.
"""


@runtime_checkable
class Directory(Protocol):
    """A provider of IDENTITY that narrows which accounts a user sees."""

    async def visible(self, actor: Actor) -> frozenset[str] | None:
        """Return the ids of the accounts that a caller may see; None for every account.

        Of a narrowed directory no names and emails of other accounts are shown, filtered or
        searched.
        """
        ...


IDENTITY = ServiceKey[Identity]("identity")
SESSIONS = ServiceKey[Sessions]("sessions")


_EMAIL = re.compile(r'[^\s@<>()\[\],;:\\"]+@[^\s@.<>()\[\],;:\\"]+(\.[^\s@.<>()\[\],;:\\"]+)+')
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line breaks and marks of text direction. Joiners and the spaces of many
scripts are allowed."""


def fold_name(name: str) -> str:
    """Return the key by which two names are equal: without case and compatibility variants.

    Compatibility caseless matching of the Unicode Standard (3.13, D146). A text of more than 512
    characters is returned unchanged: normalising takes time by the square of its combining marks.
    """
    if len(name) > 512:
        return name
    folded = unicodedata.normalize("NFD", name).casefold()
    folded = unicodedata.normalize("NFKC", folded).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def clean_username(text: str) -> str:
    """Trim a username of 1 to 64 printable characters. Raises BadRequest.

    `isprintable` refuses control characters, marks of text direction and unusual spaces.
    """
    name = text.strip()
    if not 1 <= len(name) <= 64 or not fold_name(name):
        raise BadRequest("username must have 1 to 64 characters")
    if not name.isprintable():
        raise BadRequest("username must consist of printable characters")
    return name


def clean_email(text: str, form: re.Pattern[str] = _EMAIL) -> str:
    """Trim an email address that matches `form`. Raises BadRequest."""
    email = text.strip()
    too_long = len(email) > 254  # RFC 5321, 4.5.3.1.3
    if too_long or not email.isprintable() or not form.fullmatch(email):
        raise BadRequest("email must be an email address")
    return email


def clean_display_name(text: str | None) -> str | None:
    """Trim a display name of at most 200 characters; return None for a blank one.

    Raises BadRequest.
    """
    name = (text or "").strip()
    if len(name) > 200 or UNPRINTABLE.search(name):
        raise BadRequest("display_name must be at most 200 printable characters")
    return name or None
