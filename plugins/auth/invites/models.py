"""Bodies, replies and rows of invites."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

State = Literal["open", "used", "expired"]


class NewInvite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a creation. `role` is one of the app `app`; `expires` is an RFC 3339 time."""

    app: str | None = None
    role: str | None = None
    email: str | None = None
    expires: str | None = None


class CheckedInvite(Struct, frozen=True, kw_only=True):
    """An invite to store: its contents are checked."""

    app: str | None
    role: str | None
    email: str | None
    expires: str


class MadeInvite(Struct, frozen=True, kw_only=True):
    """A new invite, whose token and link are shown this once.

    `sent`: a plugin has sent the link.
    """

    id: str
    token: str
    link: str
    sent: bool
    app: str | None
    role: str | None
    email: str | None
    created_at: str
    expires: str


class InviteRow(Struct, frozen=True, kw_only=True):
    """An invite as admins see it. `by` and `used_by` are usernames."""

    id: str
    state: State
    app: str | None
    role: str | None
    email: str | None
    created_at: str
    expires: str
    by: str
    used_at: str | None
    used_by: str | None


class InviteToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body with the token of an invite: in a body, as addresses are logged."""

    token: str


class Acceptance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of the acceptance of an invite. `email` is only for an invite that names none."""

    token: str
    username: str | None = None
    password: str
    email: str | None = None
    display_name: str | None = None
    display_name_camel: str | None = field(default=None, name="displayName")


class ShownInvite(Struct, frozen=True, kw_only=True):
    """What the holder of a link gets to know. `app` and `role` are null for no role."""

    app: str | None
    role: str | None
    email: str | None
    expires: str
    by: str


class OpenInvite(Struct, frozen=True, kw_only=True):
    """An invite that can be used, and who made it."""

    id: str
    app: str | None
    role: str | None
    email: str | None
    expires: str
    by: str
    created_by: str
