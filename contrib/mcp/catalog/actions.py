"""Actions: the methods of a worker that the manifest of its app offers to agents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from contrib.mcp.models import Json
from kernel.public import App, Apps

KEY: Final = "actions"
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "array",
    "maxItems": 500,
    "items": {"type": "object"},
    "description": (
        "Methods of the worker that agents may call: `method`, `description` and `inputSchema`."
    ),
}
METHOD: Final = re.compile(r"[A-Za-z][\w.-]{0,127}")


class Actions:
    """The actions of installed apps, read again where an app was installed since."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._stamp_of: dict[str, int] = {}
        self._actions_of: dict[str, Sequence[Json]] = {}

    async def read(self, app: App) -> Sequence[Json]:
        """Return the actions of an app: `method`, `description` and `inputSchema` of each."""
        if self._stamp_of.get(app.id) != app.version_stamp:
            await self._read_all()
            self._stamp_of[app.id] = app.version_stamp
        return self._actions_of.get(app.id, ())

    async def _read_all(self) -> None:
        sections = await self._apps.sections(KEY)
        self._stamp_of = {section.app_id: section.version_stamp for section in sections}
        self._actions_of = {section.app_id: list_actions(section.value) for section in sections}


def list_actions(section: Any) -> Sequence[Json]:
    """Return the actions of a section; what names no method is left out."""
    actions: list[Json] = []
    if not isinstance(section, list):
        return actions
    for entry in cast("list[Any]", section):
        if not isinstance(entry, dict):
            continue
        members = cast("Json", entry)
        method: Any = members.get("method") or members.get("id") or members.get("name")
        if not isinstance(method, str) or not METHOD.fullmatch(method):
            continue
        action: Json = {"method": method, "description": members.get("description")}
        action["inputSchema"] = members.get("inputSchema") or members.get("input_schema")
        actions.append(action)
    return actions
