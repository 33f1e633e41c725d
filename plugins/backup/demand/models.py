"""Replies about backups on demand, and rows of their runs."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["make", "verify"]
State = Literal["running", "done", "failed", "lost"]


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """A backup in the folder of the machine that answers. `made_at` is RFC 3339 text."""

    name: str
    size: int
    made_at: str
    encrypted: bool
    verified: bool


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that is made or verified, or was lately; `file` is the one that is verified.

    `lost`: the server process that ran it is gone.
    """

    id: str
    kind: Kind
    state: State
    file: str | None
    started_at: str
    ended_at: str | None
    error: str | None


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """The backups of a server. `made_at` and `verified_at` are the newest of all folders.

    `scheduled`: the configuration names the folder, and one server makes backups there by itself.
    """

    folder: str
    scheduled: bool
    downloads: bool
    made_at: str | None
    verified_at: str | None
    files: list[BackupFile]
    runs: list[Run]


class StartedRun(msgspec.Struct, frozen=True):
    """A run that has begun."""

    run: str
