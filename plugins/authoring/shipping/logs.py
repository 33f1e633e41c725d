"""`caudex app logs`: the log of an app, followed live on request."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import anyio
import httpx

from kernel.public import Backoff
from plugins.authoring.errors import ServerAway
from plugins.authoring.output import Output
from plugins.authoring.project.folder import app_of, look_for_project
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection

QUIET_SECONDS: Final = 1.0
"""Seconds without a line after which the lines of before are taken as complete."""
FIRST_SECONDS: Final = 3.0
"""The same for the first line, which comes after a connection is made."""
BACKOFF: Final = Backoff(longest=5.0)
ATTEMPTS: Final = 6
"""Attempts in a row to connect again; then the command ends."""


async def logs(
    output: Output, *, url: str | None, app: str | None, follow: bool, tail: int, since: str | None
) -> int:
    """Print the last lines of the log, and with `follow` each new one."""
    app_id = app_of(app)
    project = look_for_project()
    root = project.root if project is not None else None
    query: dict[str, Any] = {"since": since} if since else {"tail": tail}
    async with open_server(url, root) as server:
        lines = follow_log(server, app_id, query)
        if not follow:
            lines = _until_quiet(lines)
        async with aclosing(lines):
            async for line in lines:
                print_line(output, line)
    return 0


def print_line(output: Output, line: dict[str, Any]) -> None:
    """Print one line of a log."""
    output.line(line)
    time_of_day = str(line.get("ts", ""))[11:19]
    output.say(f"{time_of_day} {line.get('level', ''):<7} {line.get('message', '')}")


async def follow_log(
    server: ServerConnection, app_id: str, query: dict[str, Any]
) -> AsyncGenerator[dict[str, Any]]:
    """Yield lines; a broken stream goes on behind its last line. Raises ServerAway in the end."""
    path = f"/api/v1/apps/{app_id}/logs"
    last_id = ""
    failures = 0
    while True:
        headers = {"last-event-id": last_id} if last_id else {}
        try:
            async with server.stream("GET", path, params=query, headers=headers) as answer:
                async for event_id, line in _events(answer):
                    failures = 0
                    last_id = event_id or last_id
                    yield line
        except ServerAway as error:
            reason = error.message
        else:
            reason = f"{server.url} ends the stream"
        failures += 1
        if failures > ATTEMPTS:
            raise ServerAway(reason)
        await anyio.sleep(BACKOFF.pause(failures))


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield the events of a stream with their ids (WHATWG HTML, 9.2)."""
    event_id = ""
    async for text in answer.aiter_lines():
        name, _, value = text.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            yield event_id, json.loads(value)


async def _until_quiet(lines: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[dict[str, Any]]:
    """Yield lines until none has come for a while."""
    limit = FIRST_SECONDS
    async with aclosing(lines):
        while True:
            line = None
            with anyio.move_on_after(limit):
                line = await anext(lines, None)
            if line is None:
                return
            yield line
            limit = QUIET_SECONDS
