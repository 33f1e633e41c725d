"""`caudex app pull`: the manifest of a server as a file."""

from __future__ import annotations

import json
from pathlib import Path

from kernel.public import BadRequest
from plugins.authoring.output import Output
from plugins.authoring.project.folder import MANIFEST, app_of, look_for_project, same_json
from plugins.authoring.server.access import open_server


async def pull(
    output: Output, *, url: str | None, app: str | None, file: Path | None, force: bool
) -> int:
    """Write the manifest that is installed; a file that differs is replaced on request only."""
    app_id = app_of(app)
    project = look_for_project()
    root = project.root if project is not None else None
    async with open_server(url, root) as server:
        manifest = await server.get(f"/api/v1/apps/{app_id}/manifest")
    target = file or (root or Path()) / MANIFEST
    state = _compare(target, manifest)
    if state == "changed" and not force:
        raise BadRequest(f"{target} differs from the manifest of the server: use --force")
    if state != "unchanged":
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        try:
            target.write_text(f"{text}\n", "utf-8")
        except OSError as error:
            raise BadRequest(f"{target} cannot be written: {error.strerror}") from None
    output.say(f"{target}: {state}")
    output.result({"file": str(target), "state": state})
    return 0


def _compare(target: Path, manifest: object) -> str:
    try:
        present = json.loads(target.read_bytes())
    except FileNotFoundError:
        return "created"
    except (OSError, ValueError):
        return "changed"
    return "unchanged" if same_json(present, manifest) else "changed"
