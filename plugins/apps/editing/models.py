"""Bodies and replies of edits."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from plugins.apps.models import Change


class Undo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Go back to the manifest of the install `to`, by default the one before the present one."""

    to: int | None = None
    dry_run: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Where the manifest is changed: `files` is the folder that the app is deployed from."""

    managed_by: Literal["files"] | None


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """The next manifest, and what it changes or would change in the tables."""

    manifest: dict[str, Any]
    changes: list[Change]
    warnings: list[str]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An install: who, when, by what, and what it changed. `stamp` names it."""

    stamp: int
    version: str
    by: str | None
    at: str
    via: str
    changes: list[Change]


class StoredManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of an app as it is stored."""

    stamp: int
    managed_by: str | None
    manifest: msgspec.Raw

    @property
    def etag(self) -> str:
        """The entity tag of the manifest: each install has a stamp of its own."""
        return f'"{self.stamp}"'
