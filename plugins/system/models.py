"""What the routes reply."""

from __future__ import annotations

from typing import Literal

import msgspec

from kernel.public import TaskInfo

State = Literal["Online", "Offline", "Starting", "Stopping", "Error"]


class Sign(msgspec.Struct, frozen=True):
    """A sign of life; plugins that are left out and problems of others are named, if any."""

    status: Literal["ok", "ready"]
    degraded: list[str] | msgspec.UnsetType = msgspec.UNSET
    problems: list[str] | msgspec.UnsetType = msgspec.UNSET


class Runtime(msgspec.Struct, frozen=True):
    """The server itself."""

    version: str
    state: State


class Part(msgspec.Struct, frozen=True):
    """A subsystem; `port` is null where it has none of its own."""

    state: State
    port: int | None


class Status(msgspec.Struct, frozen=True):
    """The states of the contract. Subsystems that report more are beside them by their name."""

    runtime: Runtime
    postgres: Part
    forge: Part


class DeclaredRoute(msgspec.Struct, frozen=True):
    """A route, and what its callers must hold."""

    method: str
    path: str
    needs: str


class HookFailure(msgspec.Struct, frozen=True):
    """The class of an error and where it was raised; the log has its message, at that time."""

    error: str
    time: str


class HookUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin's part in a hook cost: all calls of this process, times of the last 256.

    `refusals` are answers such as 401 or 403, `errors` faults. An observer whose `breaker` is open
    failed repeatedly and is skipped for a while.
    """

    hook: str
    calls: int
    refusals: int
    errors: int
    breaker: Literal["closed", "open"]
    p50_ms: float | None
    p99_ms: float | None
    last_error: HookFailure | None


class PluginState(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that was found; `note` says why it is left out, `warnings` what it costs others.

    `settings` are the keys that its table may have, `configured` those that it has, and `sources`
    where these come from: an environment variable or a file.
    """

    name: str
    version: str
    state: str
    origin: str
    note: str
    warnings: list[str]
    boot_seconds: float
    wraps: tuple[str, ...]
    provides: tuple[str, ...]
    requires: tuple[str, ...]
    uses: tuple[str, ...]
    settings: tuple[str, ...]
    configured: tuple[str, ...]
    sources: dict[str, str]
    routes: list[DeclaredRoute]
    hooks: list[HookUse]
    tasks: list[TaskInfo]


class Toggle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Plugins to disable and enable, by name."""

    disable: list[str] = []
    enable: list[str] = []


class TogglePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of plugins would do, a line each; `starts`: whether the server would start."""

    starts: bool
    lines: list[str]


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Every plugin, as the process of this id sees it; each counts for itself."""

    process: int
    plugins: list[PluginState]
