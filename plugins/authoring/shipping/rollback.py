"""`caudex app rollback`: earlier versions of worker, frontend and manifest."""

from __future__ import annotations

from kernel.public import BadRequest, KernelError
from plugins.authoring.errors import DeployRefused
from plugins.authoring.output import Output
from plugins.authoring.project.folder import find_project, look_for_project
from plugins.authoring.project.record import DeployRecord, Undo
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection


async def rollback(
    output: Output,
    *,
    url: str | None,
    app: str | None,
    manifest: int | None,
    worker: int | None,
    frontend: int | None,
) -> int:
    """Put back what the last deploy from here replaced, or the versions that are named."""
    project = look_for_project()
    root = project.root if project is not None else None
    chosen = Undo(manifest=manifest, worker=worker, frontend=frontend)
    async with open_server(url, root) as server:
        if chosen == Undo():
            chosen = _read_last(server.url)
        app_id = app or find_project().app_id
        sentences = await _put_back(server, f"/api/v1/apps/{app_id}", chosen)
    for sentence in sentences:
        output.say(sentence)
    output.result({"app": app_id, "server": server.url, "done": sentences})
    return 0


def _read_last(url: str) -> Undo:
    record = DeployRecord(find_project().root, url)
    undo = record.deployed.undo
    if undo is None or undo == Undo():
        raise BadRequest(
            f"no deploy from here replaced a version at {url}: name one with --worker, --frontend "
            "or --manifest (caudex app status lists them)"
        )
    return undo


async def _put_back(server: ServerConnection, path: str, chosen: Undo) -> list[str]:
    """Frontend and worker first: they may use what the manifest of today declares."""
    sentences: list[str] = []
    try:
        if chosen.frontend is not None:
            await server.post(f"{path}/frontend/rollback", {"version": chosen.frontend})
            sentences.append(f"version {chosen.frontend} of the frontend is back")
        if chosen.worker is not None:
            await server.post(f"{path}/worker/rollback", {"version": chosen.worker})
            sentences.append(f"version {chosen.worker} of the worker is in service")
        if chosen.manifest is not None:
            document = await server.get(f"{path}/manifests/{chosen.manifest}")
            await server.post("/api/v1/apps", document)
            sentences.append(f"manifest {chosen.manifest} is installed")
    except KernelError as refusal:
        raise DeployRefused("; ".join([*sentences, refusal.message])) from None
    return sentences
