"""The worker of a deploy: the code of the app."""

from __future__ import annotations

from typing import Any

from plugins.authoring.errors import ServerRefused
from plugins.authoring.output import Output
from plugins.authoring.project.archive import Archive, Form
from plugins.authoring.project.folder import Project
from plugins.authoring.project.lines import check_code, with_frame
from plugins.authoring.project.record import DeployRecord, SentVersion, files_of
from plugins.authoring.server.connection import ServerConnection

from .step import UNCHANGED, StepPlan, StepReport, absent


class WorkerStep:
    """Deploys the code, unless the version in service has the same archive."""

    part = "worker"

    def __init__(
        self, server: ServerConnection, project: Project, record: DeployRecord, output: Output
    ) -> None:
        self._server = server
        self._record = record
        self._output = output
        files = project.worker_files()
        check_code(files)
        self._archive = Archive(files)
        self._path = f"/api/v1/apps/{project.app_id}"
        self.version_before: int | None = None

    async def plan(self) -> StepPlan:
        """Compare the archive with the version in service."""
        if not self._archive.digests:
            return absent("no worker.py")
        current = await self._read_current()
        if current is None:
            return StepPlan(state="changed", changes=[f"+ {self._archive.summary}"])
        self.version_before = current["version"]
        if current["sha256"] == self._archive.sha256:
            return UNCHANGED
        sent = files_of(self._record.deployed.worker, current["version"], current["at"])
        changes = [f"~ {self._archive.summary}"]
        if sent is not None:
            changes = self._archive.changes_since(sent) or changes
        return StepPlan(state="changed", changes=changes)

    async def apply(self, plan: StepPlan) -> StepReport:
        """Send the archive. The server keeps the version before if this one does not start."""
        form = Form(self._archive)
        try:
            with self._output.progress("worker", form.size) as advance:
                answer = await self._server.upload(
                    f"{self._path}/deploy", form.body(advance), form.headers
                )
        except ServerRefused as refusal:
            message = with_frame(refusal.message, self._archive.digests)
            raise ServerRefused(message, refusal.code, refusal.members) from None
        current = await self._read_current()
        version = None
        if current is not None:
            version = current["version"]
            self._record.deployed.worker = SentVersion(
                version=version, at=current["at"], digests=self._archive.digests
            )
        return StepReport(
            part=self.part, state="changed", changes=plan.changes, message=answer["message"],
            version=version,
        )  # fmt: skip

    async def undo(self) -> str:
        """Put the version before into service; the first one of an app is stopped."""
        if self.version_before is None:
            await self._server.post(f"{self._path}/worker/stop", {})
            return "the worker is stopped: it had no version before, and the new one stays unused"
        body = {"version": self.version_before}
        await self._server.post(f"{self._path}/worker/rollback", body)
        return f"version {self.version_before} of the worker is in service again"

    async def _read_current(self) -> dict[str, Any] | None:
        versions = await self._server.find_rows(f"{self._path}/worker/versions") or []
        return next((version for version in versions if version["in_service"]), None)
