"""TCP ports that workers serve at: named in the manifest, and allowed by a core admin."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final

import msgspec

from kernel.public import Actor, Apps, BadRequest, Event, Statements, Transaction

from . import store
from .store import PORTS_TOPIC, WorkersStore

KEY: Final = "worker"
SCHEMA: Final[dict[str, Any]] = {
    "title": "Worker",
    "description": "What the worker of the app needs.",
    "type": "object",
    "properties": {
        "ports": {
            "title": "Ports",
            "description": "TCP ports that it serves at, once a core admin allowed them.",
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 65535},
            "maxItems": 16,
            "uniqueItems": True,
            "default": [],
        }
    },
    "additionalProperties": False,
}


Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class AllowedPorts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST worker/ports: all ports that the worker may serve at."""

    ports: Annotated[list[Port], msgspec.Meta(max_length=16)]


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Ports of an app: those in its manifest, those that a core admin allowed, and both."""

    declared: Sequence[int]
    allowed: Sequence[int]
    usable: Sequence[int]


class PortRules:
    """Reads and stores the ports. `server_ports` are those of the server and of an embedded
    PostgreSQL, which no worker gets."""

    def __init__(self, apps: Apps, statements: Statements, server_ports: Collection[int]) -> None:
        self._apps = apps
        self._statements = statements
        self._store = WorkersStore(statements)
        self._server_ports = server_ports

    async def read(self, app_id: str) -> Ports:
        """Return the ports of an app. Raises NotFound."""
        return await self.find_usable(app_id, await self._store.read_ports(app_id))

    async def find_usable(self, app_id: str, allowed: Sequence[int]) -> Ports:
        """Return the ports of an app for which these are allowed. Raises NotFound."""
        await self._apps.app(app_id)
        sections = await self._apps.sections(KEY)
        values = {section.app_id: section.value for section in sections}
        declared: list[int] = values.get(app_id, {}).get("ports", [])
        usable = [port for port in declared if port in allowed and port not in self._server_ports]
        return Ports(declared=declared, allowed=allowed, usable=usable)

    async def allow(self, actor: Actor, app_id: str, ports: Sequence[int]) -> None:
        """Replace the ports that the worker of an app may serve at; it starts again.

        Raises BadRequest for a port that the manifest does not name, and for the server's own.
        """
        before = await self.read(app_id)
        for port in ports:
            if port in self._server_ports:
                raise BadRequest(f"ports: the server listens on {port}")
            if port not in before.declared:
                raise BadRequest(f"ports: the manifest does not name {port} in worker.ports")

        async def write(tx: Transaction) -> None:
            await store.put_ports(tx, app_id, ports)
            new = {"allowed": list(ports)}
            await tx.record(Event.core("workers", "PORTS_ALLOWED", actor, app_id, new=new))
            await tx.publish(PORTS_TOPIC, app_id)

        await self._statements.run(actor, write)
