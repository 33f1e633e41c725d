"""What the plugin stores, sends and holds."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was in service lately; `until` is in seconds since 1970."""

    bundle: str
    until: float


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The version of an app that is in service. `key` is that of the installed app.

    `bundle` is the SHA-256 of what is sent, which names it.
    """

    app_id: str
    key: int
    version: int
    bundle: str
    former: tuple[Former, ...] = ()


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version about to be stored; `digest` is the SHA-256 of its archive, `size` its bytes."""

    app_id: str
    version: int
    digest: str
    size: int
    bundle: str


class Deployed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to a deploy. `ignored` is what was left out, and why."""

    message: str
    url: str | None
    version: int
    ignored: list[str] = []


class ShownVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is kept; `by` is the user, `size` the bytes of the archive."""

    version: int
    created_at: str
    by: str | None
    size: int
    current: bool


class RollBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/frontend/rollback; without a version it is the one before the current."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
