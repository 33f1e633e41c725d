"""Messages of the protocol, and what the tools are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

MODERN: Final = "2026-07-28"
"""The protocol without a handshake: each request says its version and its client."""
LEGACY: Final = "2025-11-25"
"""The protocol that begins with `initialize`."""
SUPPORTED: Final = (MODERN, LEGACY)
Era = Literal["2026-07-28", "2025-11-25"]
"""The version of the protocol that a request is answered by."""

Json = dict[str, Any]
"""An object of JSON."""

Right = Literal["any", "read", "write", "app", "admin"]
"""What a caller needs somewhere, so that a tool is in its list."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request of an agent, or a notification, which has no `id` and gets no answer."""

    method: str
    params: Json
    id: str | int | None
    era: Era
    client: str
    """The name that the client gave itself. It is shown in the trail, and nothing depends on it."""

    @property
    def is_modern(self) -> bool:
        """Whether it needs no handshake."""
        return self.era == MODERN


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as agents see it: constant text of ours.

    `right` decides whether it is in the list of a caller, `writes` whether it may change something.
    Where `route` is set, the tool exists only while the server has this route.
    """

    name: str
    title: str
    description: str
    properties: Mapping[str, Any]
    required: tuple[str, ...] = ()
    right: Right = "read"
    writes: bool = False
    is_idempotent: bool = False
    reaches_out: bool = False
    """Whether code of an app runs, which may do something outside of this server."""
    route: tuple[str, str] | None = None

    @property
    def view(self) -> Json:
        """The tool in a reply."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": dict(self.properties),
                "required": list(self.required),
                "additionalProperties": False,
            },
            "annotations": {
                "title": self.title,
                "readOnlyHint": not self.writes,
                "destructiveHint": self.writes,
                "idempotentHint": self.is_idempotent or not self.writes,
                "openWorldHint": self.reaches_out,
            },
        }


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool has found or done.

    `hint` says how to get what is cut off, where `value` is too large: `{shown}`, `{count}` and
    `{last}`, the id of the last item, are filled in. `items` is the member that is cut.
    """

    value: Json
    items: str = "data"
    hint: str = "ask for less"
