"""The settings that a transaction begins with: the kernel's, and those of plugins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kernel.contracts import hookspecs
from kernel.contracts.base import Actor
from kernel.contracts.server import HookBus
from kernel.contracts.statements import Reader
from kernel.errors import HookFailed

NAME_IT: Final = "name it with a dot, as tenant.id, and give it a text"
SETTING: Final = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)+")
"""A name that PostgreSQL takes for a setting of an application."""


class SessionSettings:
    """Asks plugins for their settings, and checks that PostgreSQL takes them."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus
        self._names = frozenset[str]()
        """Those that PostgreSQL has of its own, where a plugin sets some."""

    async def load_names(self, reader: Reader) -> None:
        """Read which settings PostgreSQL has, if a plugin sets any."""
        if self._bus.implementations(hookspecs.session_settings):
            names = await reader.fetch_all("select name from pg_settings")
            self._names = frozenset(name.decode() for name in names)

    def collect(self, actor: Actor) -> Mapping[str, str]:
        """Return the settings of a transaction of an actor. Raises HookFailed for a wrong one."""
        settings = {"caudex.actor_id": actor.user_id or "", "caudex.request_id": actor.request_id}
        if actor.limits is not None and actor.limits.key:
            settings["caudex.key_id"] = actor.limits.key
        if actor.via:
            settings["caudex.via"] = actor.via
        for implementation in self._bus.implementations(hookspecs.session_settings):
            chosen: Mapping[str, Any] = implementation.invoke({"actor": actor}) or {}
            for name, value in chosen.items():
                if not isinstance(value, str) or not self._is_setting(name):
                    failed = HookFailed(f"{name!r} is no setting of a text", NAME_IT)
                    raise implementation.note_failure(failed)
            settings |= chosen
        return settings

    def _is_setting(self, name: str) -> bool:
        if not self._names or name in self._names:
            return True
        return SETTING.fullmatch(name) is not None
