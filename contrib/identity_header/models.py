"""Data types: claims of a proxy, bodies of requests and replies."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from kernel.public import clean_display_name, clean_email, clean_username

EMAIL: Final = re.compile(r"[^\s@<>]+@[^\s@<>]+")
"""An email address as a proxy sends it: `user@host` without a dot is one, too."""


class Claim(Struct, frozen=True, kw_only=True):
    """What a trusted proxy sends about the user of a request."""

    username: str
    email: str | None = None
    display_name: str | None = None
    groups: tuple[str, ...] = ()


def clean_claim(
    username: str, email: str | None, display_name: str | None, groups: tuple[str, ...] = ()
) -> Claim:
    """Trim what a proxy or an admin sends. Raises BadRequest."""
    cleaned_email = None
    trimmed_email = (email or "").strip()
    if trimmed_email:
        cleaned_email = clean_email(trimmed_email, EMAIL)
    return Claim(
        username=clean_username(username),
        email=cleaned_email,
        display_name=clean_display_name(display_name),
        groups=groups,
    )


class UsersQuery(Struct, frozen=True, kw_only=True):
    """Query parameters of the list of users."""

    limit: int | None = None
    after: str | None = None


class NewUser(Struct, frozen=True, kw_only=True):
    """Body of an account made by an admin; members that are not named here are dropped."""

    username: str
    email: str | None = None
    display_name: str | None = None


class UserChanges(Struct, frozen=True, kw_only=True):
    """Body of a change of an account: the rest is the proxy's to say."""

    disabled: bool
