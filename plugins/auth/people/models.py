"""Bodies and replies about people."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from kernel.public import AccountKind
from plugins.auth.models import UserChanges


class OwnChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a change of the caller's own profile; null removes a value.

    An `email` needs the `password`: it is a name to sign in with.
    """

    display_name: str | UnsetType | None = UNSET
    display_name_camel: str | UnsetType | None = field(default=UNSET, name="displayName")
    email: str | UnsetType | None = UNSET
    password: str | UnsetType = UNSET

    @property
    def changes(self) -> UserChanges:
        """The changes, without the password that confirms them."""
        return UserChanges(
            display_name=self.display_name,
            display_name_camel=self.display_name_camel,
            email=self.email,
        )


class AccountRow(Struct, frozen=True, kw_only=True):
    """An account as core admins see it. Times are RFC 3339 text.

    `last_sign_in` is exact to a minute; null for an account that never signed in. `keys` counts API
    keys that have not expired. `password_temporary`: the user must change the password first.
    """

    id: str
    username: str
    email: str | None
    display_name: str | None
    created_at: str
    disabled: bool
    kind: AccountKind
    last_sign_in: str | None
    sessions: int
    keys: int
    second_factor: bool
    password_temporary: bool


class EndedSessions(Struct, frozen=True):
    """How many sessions were ended."""

    ended: int
