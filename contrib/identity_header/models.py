"""What travels: what a proxy says, bodies of requests and replies."""

from __future__ import annotations

from msgspec import Struct


class Claim(Struct, frozen=True, kw_only=True):
    """What a trusted proxy sends about the user of a request."""

    username: str
    email: str | None = None
    display_name: str | None = None
    groups: tuple[str, ...] = ()


class NewUser(Struct, frozen=True, kw_only=True):
    """Body of an account made by an admin; members that are not named here are dropped."""

    username: str
    email: str | None = None
    display_name: str | None = None


class UserChanges(Struct, frozen=True, kw_only=True):
    """Body of a change of an account: the rest is the proxy's to say."""

    disabled: bool


class Mode(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How one signs in: always somehow; `setup_required` while there is no account."""

    auth_required: bool
    setup_required: bool = False
