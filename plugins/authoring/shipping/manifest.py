"""The manifest of a deploy: tables, fields and sections."""

from __future__ import annotations

from typing import Any

from plugins.authoring.errors import ServerRefused
from plugins.authoring.project.folder import MANIFEST, Project, same_json
from plugins.authoring.project.lines import with_lines
from plugins.authoring.server.connection import ServerConnection

from .step import UNCHANGED, StepPlan, StepReport


class ManifestStep:
    """Installs the app, or updates it to the manifest of the project."""

    part = "manifest"

    def __init__(self, server: ServerConnection, project: Project) -> None:
        self._server = server
        self._manifest = project.manifest()
        self._text = (project.root / MANIFEST).read_text("utf-8")
        self._app_id = project.app_id
        self._before: Any = None
        self.version_before: int | None = None

    async def plan(self) -> StepPlan:
        """Compare with the manifest that is installed, and ask what an install would change."""
        self._before = await self._server.find(f"/api/v1/apps/{self._app_id}/manifest")
        if self._before is not None and same_json(self._before, self._manifest):
            return UNCHANGED
        answer = await self._post("/api/v1/apps/schema/verify")
        changes = [_sentence(change) for change in answer["changes"]]
        ignored = answer.get("ignored", ())
        return StepPlan(
            state="changed",
            changes=changes or ["~ other members of the manifest"],
            note=f"ignored: {', '.join(map(_explain_section, ignored))}" if ignored else "",
        )

    async def apply(self, plan: StepPlan) -> StepReport:
        """Install the manifest: all of it, or nothing."""
        if self._before is not None:
            installs = await self._server.get(f"/api/v1/apps/{self._app_id}/manifests")
            self.version_before = installs[0]["stamp"]
        answer = await self._post("/api/v1/apps?source=files")
        return StepReport(
            part=self.part,
            state="changed",
            changes=plan.changes,
            message=answer["message"],
            ignored=[_explain_section(name) for name in answer.get("ignored", ())],
        )

    async def _post(self, path: str) -> Any:
        """Send the manifest; a refusal says the lines of the file."""
        try:
            return await self._server.post(path, self._manifest)
        except ServerRefused as refusal:
            message = with_lines(refusal.message, MANIFEST, self._text)
            raise ServerRefused(message, refusal.code, refusal.members) from None

    async def undo(self) -> str:
        """Install the former manifest; uninstall an app that this deploy has made."""
        if self._before is None:
            await self._server.call("DELETE", f"/api/v1/apps/{self._app_id}")
            return f"the app '{self._app_id}' was uninstalled again"
        await self._server.post("/api/v1/apps", self._before)
        return "the former manifest is installed again"


def _explain_section(name: str) -> str:
    """Say why a section of the manifest has no effect."""
    return f"{name} (no plugin of the server reads it)"


def _sentence(change: dict[str, Any]) -> str:
    """Return one change of `schema/verify` as a line."""
    place = ".".join(name for name in (change["entity"], change["column"]) if name)
    words = [change["change_type"].replace("_", " "), place]
    if change["detail"] and change["detail"] != place:
        words.append(f"({change['detail']})")
    return " ".join(word for word in words if word)
