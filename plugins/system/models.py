"""What the routes reply."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["Online", "Offline", "Starting", "Stopping", "Error"]


class Sign(msgspec.Struct, frozen=True):
    """A sign of life."""

    status: Literal["ok", "ready"]


class Runtime(msgspec.Struct, frozen=True):
    """The server itself."""

    version: str
    state: State


class Part(msgspec.Struct, frozen=True):
    """A subsystem; `port` is null where it has none of its own."""

    state: State
    port: int | None


class Status(msgspec.Struct, frozen=True):
    """The states of the contract. Subsystems that report more stand beside them by their name."""

    runtime: Runtime
    postgres: Part
    forge: Part
