"""`caudex app dev`: deploys what changed at each save, and shows the log of the app."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from kernel.public import KernelError
from plugins.authoring.errors import NotSignedIn, ServerAway
from plugins.authoring.output import Output
from plugins.authoring.project.folder import Project, find_project
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection
from plugins.authoring.shipping.deploy import PARTS, Deployment, show_report
from plugins.authoring.shipping.logs import follow_log, print_line
from plugins.authoring.shipping.step import StepReport

from .server import Account, DevelopmentServer
from .watch import ProjectWatcher


async def dev(output: Output, *, url: str | None, port: int | None) -> int:
    """Deploy at each save until a signal."""
    project = find_project()
    async with _open(output, project, url, port) as (server, account):
        session = Session(server, project, output)
        _greet(output, server.url, account)
        await session.run()
    return 0


@asynccontextmanager
async def _open(
    output: Output, project: Project, url: str | None, port: int | None
) -> AsyncGenerator[tuple[ServerConnection, Account | None]]:
    """Open the server of a sign-in, or run one for the project."""
    if url is not None:
        async with open_server(url, project.root) as server:
            yield server, None
        return
    output.say("starting a server in .caudex (the first start makes a database)")
    async with DevelopmentServer(project.root).running(port) as (server, account):
        yield server, account


def _greet(output: Output, url: str, account: Account | None) -> None:
    output.say(f"server    {url}")
    event = {"event": "server", "url": url}
    if account is not None:
        output.say(f"console   {url}/console/ as {account.username}, password {account.password}")
        event |= {"username": account.username, "password": account.password}
    output.line(event)


class Session:
    """Deploys of one project while it is edited."""

    def __init__(self, server: ServerConnection, project: Project, output: Output) -> None:
        self._server = server
        self._project = project
        self._output = output
        self._installed = anyio.Event()
        self._app_id = ""
        self._pending: set[str] = set()
        """Parts that were refused: they are tried again with the next save."""

    async def run(self) -> None:
        """Deploy everything, then what each save changes."""
        watcher = ProjectWatcher(self._project.root)
        async with watcher.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_log)
            await self._deploy(set(PARTS))
            self._output.say("watching; Ctrl-C ends it")
            self._output.line({"event": "watching"})
            while True:
                await self._deploy(await watcher.next_parts())

    async def _deploy(self, parts: set[str]) -> None:
        """Deploy parts one by one. A refused one stays as it was on the server."""
        parts = parts | self._pending
        self._pending.clear()
        for part in PARTS:
            if part not in parts:
                continue
            began = time.monotonic()
            try:
                reports = await Deployment(self._server, self._project, self._output, [part]).run()
            except NotSignedIn:
                raise
            except KernelError as refusal:
                self._pending.add(part)
                self._refuse(part, refusal)
                if part == "manifest":
                    self._pending.update(parts)
                    return
                continue
            self._app_id = self._project.app_id
            self._installed.set()
            for report in reports:
                self._show(report, time.monotonic() - began)

    def _refuse(self, part: str, refusal: KernelError) -> None:
        message = refusal.message.removeprefix(f"{part}: ")
        self._output.say(f"{part:<10}refused, the last version stays: {message}")
        self._output.line({"event": "refused", "part": part, "error": message})

    def _show(self, report: StepReport, seconds: float) -> None:
        if report.state == "changed":
            show_report(self._output, report)
        elif report.state == "off":
            self._output.say(f"{report.part:<10}{report.message}")
        self._output.line(
            {
                "event": "deployed",
                "part": report.part,
                "state": report.state,
                "version": report.version,
                "url": report.url,
                "seconds": round(seconds, 3),
            }
        )

    async def _follow_log(self) -> None:
        """Print the log of the app once it is installed; without it, the session goes on."""
        await self._installed.wait()
        try:
            async for line in follow_log(self._server, self._app_id, {"tail": 0}):
                if self._output.as_json:
                    self._output.line({"event": "log", **line})
                else:
                    print_line(self._output, line)
        except ServerAway:
            raise
        except KernelError as refusal:
            self._output.note(f"the log cannot be followed: {refusal.message}")
