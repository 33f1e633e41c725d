"""Bodies of requests and replies, and rows of the tables."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType, field

from kernel.public import AccountKind, User, UserView

MAX_BODY: Final = 64_000
"""Bytes of a body about accounts, keys and invites."""


class Registration(Struct, frozen=True, kw_only=True):
    """Body of a registration; other members are ignored."""

    password: str
    username: str | None = None
    email: str | None = None
    display_name: str | None = None
    display_name_camel: str | None = field(default=None, name="displayName")
    setup_token: str | None = field(default=None, name="setupToken")


class ImportedAccount(Registration, frozen=True, kw_only=True):
    """An account of another system, with its Argon2id hash in place of a password."""

    password: str = ""
    password_hash: str


class Credentials(Struct, frozen=True, kw_only=True):
    """Body of a login, with a username or an email; `code` is the second factor."""

    password: str
    username: str | None = None
    email: str | None = None
    code: str | None = None


class RefreshToken(Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of refresh and logout."""

    refresh_token: str


class PasswordChange(Struct, frozen=True, kw_only=True):
    """Body of a change of the caller's password."""

    current: str
    new: str


class UsersQuery(Struct, frozen=True, kw_only=True):
    """Query parameters of the list of users."""

    limit: int | None = None
    after: str | None = None


class UserChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a change of an account; null removes `email` and the display name."""

    display_name: str | UnsetType | None = UNSET
    display_name_camel: str | UnsetType | None = field(default=UNSET, name="displayName")
    email: str | UnsetType | None = UNSET
    password: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Registered(Struct, frozen=True):
    """Reply to a registration."""

    user: UserView


class LoggedIn(Struct, frozen=True, kw_only=True, rename="camel"):
    """Reply to a login; `expires_in` in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: UserView


class Refreshed(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Reply to a refresh, with a successor of the refresh token where tokens rotate."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None


class SessionView(Struct, frozen=True, kw_only=True):
    """One of the caller's sessions; timestamps are RFC 3339 text."""

    id: str
    created_at: str
    last_used_at: str
    address: str
    user_agent: str
    app: str | UnsetType | None = UNSET
    """The app through whose host the user signed in; absent for the host of the server."""
    current: bool = False


class Client(Struct, frozen=True):
    """The client that begins a session."""

    address: str
    user_agent: str


def describe_client(address: str, user_agent: str) -> Client:
    """Describe a client; of its agent the first 256 printable characters are kept."""
    printable = "".join(letter for letter in user_agent if letter.isprintable())
    return Client(address, printable[:256])


class Limits(NamedTuple):
    """When sessions end: seconds after their last use, and after their login."""

    idle: int
    total: int


class NewSession(Struct, frozen=True):
    """A session to begin, with the hash of its first refresh token; it ends in `seconds`.

    `external`: another plugin has authenticated the user, without a password. It begins unless one
    of the limiter's `keys` is blocked. `door` is the app through whose host it begins.
    """

    id: str
    first_hash: str
    seconds: int
    external: bool
    keys: list[str]
    door: str | None


class Begun(Struct, frozen=True):
    """Whether a session began, else for how many seconds one of its keys is blocked.

    `full`: the account had as many sessions as it may have. `noted`: its network was noted within
    the last hour.
    """

    begun: bool
    blocked: int
    full: bool
    noted: bool


class Account(Struct, frozen=True, kw_only=True):
    """A row of users with its password hash.

    `factor`: a second factor is set up. `password_temporary`: an admin has set the password.
    `known_network`: it has signed in from the network of `AccountStore.sign_in` within 30 days.
    """

    id: str
    username: str
    email: str | None
    email_key: str | None
    display_name: str | None
    created_at: str
    disabled: bool
    password_hash: str
    password_temporary: bool = False
    factor: bool = False
    known_network: bool = False
    kind: AccountKind = "person"

    @property
    def user(self) -> User:
        """The account as others may see it."""
        return User(
            id=self.id,
            username=self.username,
            email=self.email,
            display_name=self.display_name,
            created_at=self.created_at,
            disabled=self.disabled,
            kind=self.kind,
        )


class SignIn(Struct, frozen=True):
    """The account that a login names, the limiter's keys of the attempt, and for how many seconds
    one of them is blocked."""

    account: Account | None
    keys: list[str]
    blocked: int


class NewAccount(Struct, frozen=True, kw_only=True):
    """A valid registration; the keys are the folded names that must be unique."""

    username: str
    username_key: str
    email: str | None
    email_key: str | None
    display_name: str | None
    password: str
    email_only: bool
    temporary: bool = False
    kind: AccountKind = "person"


class Taken(Struct, frozen=True):
    """Which of two names another account has."""

    username: bool
    email: bool


class Identified(Struct, frozen=True, kw_only=True):
    """The user of a valid access token, and what decides whether it must do something first."""

    username: str
    password_temporary: bool
    factor: bool


class Delegator(Struct, frozen=True, kw_only=True):
    """An account that workers of an app may act for.

    `withdrawals` counts how often its delegations were revoked; `epoch` names the installation of
    the app as well.
    """

    id: str
    username: str
    withdrawals: str
    epoch: str


class Family(Struct, frozen=True, kw_only=True):
    """A session, locked, with the hashes of its refresh tokens and the name of its user."""

    username: str
    revoked: bool
    expired: bool
    in_grace: bool
    current_hash: str
    parent_hash: str | None = None
    next_hash: str | None = None
