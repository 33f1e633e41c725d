"""`caudex undo`: take back what a request, a user or a time did to records."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import httpx
import msgspec

from kernel.public import BadRequest
from plugins.authoring.errors import ServerRefused
from plugins.authoring.output import Output
from plugins.authoring.project.folder import app_of, look_for_project
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection

CONFLICT: Final = 412
MOST_SHOWN: Final = 50
"""Records of each kind that are printed."""
UNDO_TIMEOUT: Final = httpx.Timeout(600, connect=5)
"""An undo of 100,000 changes takes minutes where plugins take part in each write."""


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """What `caudex undo` is asked to do."""

    url: str | None
    app: str | None
    request: str | None
    children: bool
    actor: str | None
    since: str | None
    until: str | None
    record: str | None
    to: str | None
    entity: tuple[str, ...]
    possible: bool
    dry_run: bool


async def undo(output: Output, **options: Any) -> int:
    """Undo changes, and report on each record."""
    order = Undo(**options)
    project = look_for_project()
    root = project.root if project is not None else None
    path = f"/api/v1/apps/{app_of(order.app)}/undo"
    async with open_server(order.url, root) as server:
        body = await _make_body(server, order)
        try:
            undone = await server.call("POST", path, json=body, timeout=UNDO_TIMEOUT)
        except ServerRefused as refusal:
            if refusal.code == CONFLICT:
                _show_conflicts(output, refusal.members.get("conflicts", []))
            raise
    _show(output, undone, dry_run=order.dry_run)
    output.result(undone)
    return 1 if undone["conflicts"] else 0


async def _make_body(server: ServerConnection, order: Undo) -> dict[str, Any]:
    body: dict[str, Any] = {
        "request": order.request,
        "since": order.since,
        "until": order.until,
        "to": order.to,
        "entities": list(order.entity) or None,
        "mode": "possible" if order.possible else "all",
        "dryRun": order.dry_run,
        "children": order.children,
    }
    if order.actor is not None:
        body["actor"] = await _find_user(server, order.actor)
    if order.record is not None:
        entity, _, record_id = order.record.partition("/")
        if not record_id:
            raise BadRequest("--record: an entity and an id with a slash between are wanted")
        body["record"] = {"entity": entity, "id": record_id}
    return {name: value for name, value in body.items() if value is not None}


async def _find_user(server: ServerConnection, name: str) -> str:
    """Return the id of a user by its name; an id is returned as it is."""
    try:
        return str(UUID(name))
    except ValueError:
        pass
    users: list[dict[str, Any]] = await server.get("/api/v1/users")
    for user in users:
        if user["username"] == name:
            return user["id"]
    raise BadRequest(f"--actor: there is no user {name!r}")


def _show(output: Output, undone: dict[str, Any], *, dry_run: bool) -> None:
    rows = [
        [record["operation"], record["entity"], record["id"], ", ".join(record.get("fields", ()))]
        for record in undone["records"][:MOST_SHOWN]
    ]
    output.table(("what", "entity", "id", "fields"), rows)
    unlisted = undone["undone"] - len(rows)
    if unlisted > 0:
        output.say(f"and {unlisted} more")
    _show_conflicts(output, undone["conflicts"])
    count = undone["undone"]
    records = "1 record" if count == 1 else f"{count} records"
    if dry_run:
        output.say(f"to put back: {records}; nothing was written")
    else:
        output.say(f"put back: {records}; request {undone['request']}")


def _show_conflicts(output: Output, conflicts: list[dict[str, Any]]) -> None:
    rows = [
        [conflict["entity"], conflict["id"], conflict.get("error") or conflict["reason"]]
        for conflict in conflicts[:MOST_SHOWN]
    ]
    output.table(("entity", "id", "stays as it is"), rows)
    if len(conflicts) > MOST_SHOWN:
        output.say(f"and {len(conflicts) - MOST_SHOWN} more that stay as they are")
