"""`caudex app status`: what of an app is in service on a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugins.authoring.output import Output, show_size
from plugins.authoring.project.folder import app_of, look_for_project
from plugins.authoring.server.access import open_server


async def status(output: Output, *, url: str | None, app: str | None) -> int:
    """Show the app, its worker and its frontend, with the versions that are kept."""
    app_id = app_of(app)
    path = f"/api/v1/apps/{app_id}"
    project = look_for_project()
    root = project.root if project is not None else None
    async with open_server(url, root) as server:
        installed = await server.get(path)
        worker = await server.get(f"{path}/worker/status")
        manifests = await server.get(f"{path}/manifests")
        workers = await server.get(f"{path}/worker/versions")
        frontends = await server.find(f"{path}/frontend/versions")
        listed = await server.get("/api/v1/apps")
    [row] = [item for item in listed if item["id"] == app_id]
    output.say(f"{installed['name']} ({app_id}) {installed['version']} at {server.url}")
    output.say(f"worker    {worker['status']}")
    output.say(f"frontend  {_describe_frontend(row, frontends)}")
    _show_versions(output, manifests, workers, frontends or [])
    output.result({
        "app": app_id, "server": server.url, "version": installed["version"],
        "url": row.get("url"), "worker": worker, "worker_versions": workers,
        "frontend_versions": frontends, "manifests": manifests,
    })  # fmt: skip
    return 0


def _describe_frontend(row: dict[str, Any], versions: list[dict[str, Any]] | None) -> str:
    if versions is None:
        return "frontends are off on this server"
    return row.get("url") or "none"


def _show_versions(
    output: Output,
    manifests: list[dict[str, Any]],
    workers: list[dict[str, Any]],
    frontends: list[dict[str, Any]],
) -> None:
    rows: list[Sequence[object]] = [
        ["worker", version["version"], version["at"], show_size(version["size"]),
         version["in_service"]]
        for version in workers
    ]  # fmt: skip
    rows += [
        ["frontend", version["version"], version["created_at"], show_size(version["size"]),
         version["current"]]
        for version in frontends
    ]  # fmt: skip
    rows += [
        ["manifest", install["stamp"], install["at"], None, number == 0]
        for number, install in enumerate(manifests[:5])
    ]
    output.say("")
    output.table(("part", "version", "at", "size", "in service"), rows)
