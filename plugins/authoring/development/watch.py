"""Watches the files of a project, without what a server writes into `.caudex`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType] - of its own

from plugins.authoring.project.folder import FRONTEND, LEFT_OUT, MANIFEST, ROLES

STEP_MS: Final = 20
"""Milliseconds without a further change after which a save counts as complete."""
LONGEST_MS: Final = 400
WAITING: Final = 100
"""Sets of changes that wait while a deploy runs."""
NO_PART: Final = frozenset({"tests", "data"})


class ProjectWatcher:
    """Reports which parts of a project have changed."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        send: MemoryObjectSendStream[set[str]]
        receive: MemoryObjectReceiveStream[set[str]]
        send, receive = anyio.create_memory_object_stream[set[str]](WAITING)
        self._send = send
        self._receive = receive
        self._watched = set[Path]()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Watch for as long as the block lasts."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_top, tasks)
            for name in os.listdir(self._root):  # few names, read once
                self._watch_folder(self._root / name, tasks)
            yield
            tasks.cancel_scope.cancel()

    async def next_parts(self) -> set[str]:
        """Return the parts that have changed since the last call; waits for a change."""
        parts = await self._receive.receive()
        while self._receive.statistics().current_buffer_used:
            parts |= self._receive.receive_nowait()
        return parts

    def _watch_folder(self, path: Path, tasks: TaskGroup) -> None:
        if path.is_dir() and not _is_hidden(path.name) and path not in self._watched:
            self._watched.add(path)
            tasks.start_soon(self._watch_below, path)

    async def _watch_top(self, tasks: TaskGroup) -> None:
        """Watch the files at the top; a folder in it is watched from its first moment on."""
        async for changes in awatch(
            self._root, watch_filter=_filter, recursive=False, step=STEP_MS, debounce=LONGEST_MS
        ):
            for change, name in changes:
                if change == Change.deleted:
                    self._watched.discard(Path(name))
            for _, name in changes:
                self._watch_folder(Path(name), tasks)
            await self._report(changes)

    async def _watch_below(self, folder: Path) -> None:
        async for changes in awatch(
            folder, watch_filter=_filter, step=STEP_MS, debounce=LONGEST_MS
        ):
            await self._report(changes)

    async def _report(self, changes: set[tuple[Change, str]]) -> None:
        parts = {part_of(Path(name).relative_to(self._root)) for _, name in changes}
        parts.discard("")
        if parts:
            await self._send.send(parts)


def part_of(path: Path) -> str:
    """Return the part of a deploy that a file belongs to, or an empty text."""
    first = path.parts[0] if path.parts else ""
    if path == Path(MANIFEST):
        return "manifest"
    if path == Path(ROLES):
        return "roles"
    if first == FRONTEND:
        return "frontend"
    if not first or first in NO_PART or path.suffix == ".md":
        return ""
    return "worker"


def _filter(_: Change, name: str) -> bool:
    path = Path(name)
    return not _is_hidden(path.name) and not path.name.endswith((".pyc", "~", ".swp", ".tmp"))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LEFT_OUT
