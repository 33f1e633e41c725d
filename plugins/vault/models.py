"""Rows and requests of the vault."""

from __future__ import annotations

import msgspec


class NewSecret(msgspec.Struct, frozen=True):
    """The body of a write."""

    key: str
    value: str


class Usage(msgspec.Struct, frozen=True):
    """When a secret was set, and when and to which app's worker it was last given."""

    key: str
    used_by: str | None = None
    updated_at: str | None = None
    used_at: str | None = None


class Scope(msgspec.Struct, frozen=True):
    """Whose secrets: an app's, or the platform's (`app_id` is '' then)."""

    kind: str
    app_id: str


class DataKeyRow(msgspec.Struct, frozen=True):
    """A sealed data key; `sealed` is base64 text."""

    id: str
    scope: str
    app_id: str
    master_id: str
    sealed: str


class SecretRow(msgspec.Struct, frozen=True):
    """A sealed secret; `sealed` is base64 text."""

    scope: str
    app_id: str
    key: str
    version: int
    data_key: str
    sealed: str
