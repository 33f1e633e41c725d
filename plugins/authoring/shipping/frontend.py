"""The frontend of a deploy: the files that a browser gets."""

from __future__ import annotations

from typing import Any, Final

from plugins.authoring.errors import ServerRefused
from plugins.authoring.output import Output
from plugins.authoring.project.archive import Archive, pieces_of
from plugins.authoring.project.folder import Project
from plugins.authoring.project.record import DeployRecord, SentVersion, files_of
from plugins.authoring.server.connection import ServerConnection

from .step import UNCHANGED, StepPlan, StepReport, absent

OFF: Final = "frontends are off on this server"


class FrontendStep:
    """Deploys the files of the frontend, unless the current version was sent from them."""

    part = "frontend"

    def __init__(
        self, server: ServerConnection, project: Project, record: DeployRecord, output: Output
    ) -> None:
        self._server = server
        self._record = record
        self._output = output
        self._archive = Archive(project.frontend_files())
        self._app_id = project.app_id
        self._path = f"/api/v1/apps/{project.app_id}/frontend"
        self.version_before: int | None = None

    async def plan(self) -> StepPlan:
        """Compare with the current version. A server without frontends answers 404."""
        if not self._archive.digests:
            return absent("no frontend/index.html")
        versions: list[dict[str, Any]] = []
        try:
            versions = await self._server.get(f"{self._path}/versions")
        except ServerRefused as refusal:
            if refusal.code != 404:
                raise
            if f"'{self._app_id}'" not in refusal.message:
                return StepPlan(state="off", note=OFF)
            # Else the app is not installed yet.
        current = next((version for version in versions if version["current"]), None)
        if current is None:
            return StepPlan(state="changed", changes=[f"+ {self._archive.summary}"])
        self.version_before = current["version"]
        sent = files_of(self._record.deployed.frontend, current["version"], current["created_at"])
        if sent is None:
            return StepPlan(state="changed", changes=[f"~ {self._archive.summary}"])
        changes = self._archive.changes_since(sent)
        if not changes:
            return UNCHANGED
        return StepPlan(state="changed", changes=changes)

    async def apply(self, plan: StepPlan) -> StepReport:
        """Send the archive; the server swaps the files at once, or keeps those before."""
        content = self._archive.content
        headers = {"content-type": "application/gzip", "content-length": str(len(content))}
        with self._output.progress("frontend", len(content)) as advance:
            answer = await self._server.upload(self._path, pieces_of(content, advance), headers)
        version: int = answer["version"]
        current = await self._read_version(version)
        if current is not None:
            self._record.deployed.frontend = SentVersion(
                version=version, at=current["created_at"], digests=self._archive.digests
            )
        return StepReport(
            part=self.part, state="changed", changes=plan.changes, message=answer["message"],
            version=version, url=answer.get("url"), ignored=list(answer.get("ignored", ())),
        )  # fmt: skip

    async def undo(self) -> str:
        """Put the version before back; the first one is removed."""
        if self.version_before is None:
            await self._server.call("DELETE", self._path)
            return "the frontend is removed again"
        await self._server.post(f"{self._path}/rollback", {"version": self.version_before})
        return f"version {self.version_before} of the frontend is back"

    async def _read_version(self, version: int) -> dict[str, Any] | None:
        versions = await self._server.get(f"{self._path}/versions")
        return next((row for row in versions if row["version"] == version), None)
