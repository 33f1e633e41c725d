"""`caudex app plan` and `caudex app deploy`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import anyio

from kernel.public import KernelError
from plugins.authoring.errors import DeployRefused, OutcomeUnknown
from plugins.authoring.output import Output
from plugins.authoring.project.folder import Project, find_project
from plugins.authoring.project.record import DeployRecord, Undo
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection

from .frontend import FrontendStep
from .manifest import ManifestStep
from .roles import RolesStep
from .step import Step, StepPlan, StepReport, report_without_work
from .worker import WorkerStep

UNDO_SECONDS: Final = 60.0
"""Seconds for the undo after Ctrl-C."""
PARTS: Final = ("manifest", "roles", "worker", "frontend")


class Deployment:
    """The steps of one deploy, in order."""

    def __init__(
        self,
        server: ServerConnection,
        project: Project,
        output: Output,
        parts: Collection[str] = PARTS,
    ) -> None:
        """Read all of these parts first, so that a broken file changes nothing."""
        self._record = DeployRecord(project.root, server.url)
        self.steps: list[Step] = []
        if "manifest" in parts:
            self.steps.append(ManifestStep(server, project))
        if "roles" in parts:
            self.steps.append(RolesStep(server, project))
        if "worker" in parts:
            self.steps.append(WorkerStep(server, project, self._record, output))
        if "frontend" in parts:
            self.steps.append(FrontendStep(server, project, self._record, output))

    async def run(self) -> list[StepReport]:
        """Run the steps. Raises DeployRefused; the steps before the failed one are then undone."""
        reports: list[StepReport] = []
        finished: list[Step] = []
        for step in self.steps:
            try:
                report = await self._run_step(step)
            except anyio.get_cancelled_exc_class():
                with anyio.move_on_after(UNDO_SECONDS, shield=True):
                    await _undo([*finished, step])
                raise
            except KernelError as refusal:
                # A step whose outcome is unknown may have had its effect.
                begun = [step] if isinstance(refusal, OutcomeUnknown) else []
                sentences = await _undo([*finished, *begun])
                self._record.save()
                message = "; ".join([f"{step.part}: {refusal.message}", *sentences])
                raise DeployRefused(message) from None
            reports.append(report)
            if report.state == "changed":
                finished.append(step)
        self._note_undo(finished)
        return reports

    async def _run_step(self, step: Step) -> StepReport:
        plan = await step.plan()
        if plan.state != "changed":
            return report_without_work(step.part, plan)
        return await step.apply(plan)

    def _note_undo(self, finished: Sequence[Step]) -> None:
        """Note what `caudex app rollback` puts back."""
        if not finished:
            return
        versions = {step.part: step.version_before for step in finished}
        self._record.deployed.undo = Undo(
            manifest=versions.get("manifest"),
            worker=versions.get("worker"),
            frontend=versions.get("frontend"),
        )
        self._record.save()


async def _undo(finished: Sequence[Step]) -> list[str]:
    """Undo steps, the last one first; say where that fails."""
    sentences: list[str] = []
    for step in reversed(finished):
        try:
            sentences.append(await step.undo())
        except KernelError as error:
            sentences.append(f"the {step.part} stays as deployed: {error.message}")
    return sentences


async def deploy(output: Output, *, url: str | None) -> int:
    """Send manifest, roles, worker and frontend, and say for each what changed."""
    project = find_project()
    async with open_server(url, project.root) as server:
        is_new = await server.find(f"/api/v1/apps/{project.app_id}") is None
        reports = await Deployment(server, project, output).run()
    for report in reports:
        show_report(output, report)
    if is_new:
        output.say(f"users     invite them at {server.url}/console/#/users")
    output.result({"app": project.app_id, "server": server.url, "parts": reports})
    return 0


async def plan(output: Output, *, url: str | None) -> int:
    """Say what a deploy would change."""
    project = find_project()
    plans: dict[str, StepPlan] = {}
    async with open_server(url, project.root) as server:
        for step in Deployment(server, project, output).steps:
            plans[step.part] = await step.plan()
    for part, step_plan in plans.items():
        _show(output, part, step_plan.state, step_plan.note, step_plan.changes)
    output.result({"app": project.app_id, "server": server.url, "parts": plans})
    return 0


def show_report(output: Output, report: StepReport) -> None:
    """Print what a step did."""
    words = report.message
    if report.version is not None:
        words = f"{words} (version {report.version})"
    _show(output, report.part, report.state, words, report.changes)
    if report.ignored:
        output.say(f"{'':<10}ignored: {', '.join(map(str, report.ignored))}")
    if report.url:
        output.say(f"{'':<10}{report.url}")


def _show(output: Output, part: str, state: str, words: str, changes: Sequence[str]) -> None:
    line = f"{part:<10}{state}"
    if words:
        line = f"{line}: {words}"
    output.say(line)
    for change in changes:
        output.say(f"{'':<10}{change}")
