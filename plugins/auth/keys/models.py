"""Bodies, replies and rows of API keys."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct

from kernel.public import Limits, UserView

MAX_NAMES = 500
"""Apps, or permissions, that a key can name."""

AppNames = Annotated[list[str], Meta(max_length=MAX_NAMES)]
PermissionNames = Annotated[list[str], Meta(max_length=MAX_NAMES)]


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a creation. `user` is the id of a service account; without it the key is the caller's
    own. `expires` is an RFC 3339 time; `code` is the caller's second factor."""

    name: str
    expires: str | None = None
    apps: AppNames | None = None
    permissions: PermissionNames | None = None
    user: str | None = None
    code: str | None = None

    @property
    def limits(self) -> Limits:
        """What narrows the key."""
        apps = None if self.apps is None else tuple(dict.fromkeys(self.apps))
        permissions = None
        if self.permissions is not None:
            permissions = tuple(dict.fromkeys(self.permissions))
        return Limits(apps=apps, permissions=permissions)


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a rotation: for `overlap` seconds the former key is valid, too."""

    overlap: int = 0
    code: str | None = None


class KeysQuery(Struct, frozen=True, kw_only=True):
    """Query parameters of the list of keys."""

    user: str | None = None


class MadeKey(Struct, frozen=True, kw_only=True):
    """A new key, which is shown this once."""

    id: str
    name: str
    key: str
    prefix: str
    created_at: str
    expires: str | None


class KeyRow(Struct, frozen=True, kw_only=True):
    """A key as its owner sees it. Times are RFC 3339 text; `last_used_at` is exact to a minute."""

    id: str
    name: str
    prefix: str
    apps: list[str] | None
    permissions: list[str] | None
    created_at: str
    expires: str | None
    last_used_at: str | None
    last_address: str | None


class OwnedKey(Struct, frozen=True, kw_only=True):
    """A key, locked, with its owner."""

    id: str
    user_id: str
    kind: str
    name: str
    expired: bool
    apps: list[str] | None
    permissions: list[str] | None


class KeyUser(Struct, frozen=True, kw_only=True):
    """The user of a valid key. `seconds` remain to it; None for a key without an end.

    `factor`: no second factor is missing, or none can be demanded.
    """

    key: str
    hash: str
    user_id: str
    username: str
    apps: tuple[str, ...] | None
    permissions: tuple[str, ...] | None
    factor: bool
    seconds: float | None

    @property
    def limits(self) -> Limits:
        """What a request with the key has."""
        return Limits(key=self.key, apps=self.apps, permissions=self.permissions)

    @property
    def remaining(self) -> float:
        """The seconds that remain."""
        return math.inf if self.seconds is None else self.seconds


class NewServiceAccount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of the creation of a service account."""

    username: str
    display_name: str | None = None


class MadeAccount(Struct, frozen=True):
    """Reply to the creation of a service account."""

    user: UserView
