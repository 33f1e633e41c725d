"""The rules of backups on demand: one run at a time, and what may be downloaded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio import to_thread

from kernel.public import (
    FILE_PIECE,
    STATEMENTS,
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    Context,
    Event,
    Forbidden,
    KernelError,
    Services,
    Tasks,
    Transaction,
    failure,
)
from plugins.backup.config import BackupConfig
from plugins.backup.store import read_last

from . import store
from .child import run_caudex
from .files import OpenBackup, find_backup, list_backups, open_backup
from .models import Backups, Kind

BEAT: Final = 15.0
"""Seconds between two signs of life of a run."""
DOWNLOADS: Final = 2
"""Downloads at once: each keeps the disk busy."""
MAX_ERROR: Final = 2000

log = structlog.get_logger("caudex.backup")


class BackupsOnDemand:
    """Makes, verifies, lists and sends backups of the folder of this machine."""

    def __init__(
        self, services: Services, config: BackupConfig, context: Context, tasks: Tasks
    ) -> None:
        self._services = services
        self._config = config
        self._context = context
        self._tasks = tasks
        self._downloads = ConcurrencyLimiter(
            DOWNLOADS, message="too many backups are being downloaded", retry_after=60
        )

    @property
    def _folder(self) -> Path:
        if self._config.folder:
            return Path(self._config.folder).absolute()
        return self._context.data_dir.absolute() / "backups"

    async def show(self) -> Backups:
        """Return the backups of this machine, and the last runs."""
        statements = self._services.get(STATEMENTS)
        last = await read_last(statements)
        files = await to_thread.run_sync(list_backups, self._folder, last.verified_file)
        return Backups(
            folder=str(self._folder),
            scheduled=bool(self._config.folder),
            downloads=self._config.downloads,
            made_at=last.made_at and last.made_at.isoformat(),
            verified_at=last.verified_at and last.verified_at.isoformat(),
            files=files,
            runs=await store.read_runs(statements),
        )

    async def make(self, actor: Actor) -> str:
        """Begin to make a backup, and return the id of the run. Raises BadRequest."""
        if not self._config.folder:
            await to_thread.run_sync(_make_folder, self._folder)
        words = ["backup", "--no-verify", "--keep", str(self._config.keep)]
        if self._config.with_keys:
            words.append("--with-keys")
        return await self._begin(actor, "make", None, [*words, str(self._folder)])

    async def verify(self, actor: Actor, name: str) -> str:
        """Begin to verify a backup, and return the id of the run. Raises BadRequest, NotFound."""
        path = await to_thread.run_sync(find_backup, self._folder, name)
        return await self._begin(actor, "verify", name, ["backup", "verify", str(path)])

    async def _begin(self, actor: Actor, kind: Kind, name: str | None, words: list[str]) -> str:
        statements = self._services.get(STATEMENTS)

        async def write(tx: Transaction) -> str:
            run_id = await store.begin(tx, kind, name, actor.user_id)
            if run_id is None:
                raise BadRequest("a backup is being made or verified: wait for it")
            operation = "BACKUP_STARTED" if kind == "make" else "BACKUP_VERIFYING"
            values = {"folder": str(self._folder), "file": name}
            await tx.record(Event.core("backups", operation, actor, run_id, new=values))
            return run_id

        run_id = await statements.run(actor, write)
        self._tasks.start(partial(self._run, run_id, words), f"{kind} a backup")
        return run_id

    async def _run(self, run_id: str, words: list[str]) -> None:
        """Run a command to its end. It is never repeated: its error is the answer."""
        error: str | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._beat, run_id)
                output = await run_caudex(self._services, self._context, *words)
                log.info("a backup on demand", said=output)
                tasks.cancel_scope.cancel()
        except* (KernelError, OSError) as group:
            problem = group.exceptions[0]
            error = getattr(problem, "message", None) or str(problem)
            log.error("a backup on demand failed", **failure(problem))
        if error is not None:
            error = error[:MAX_ERROR]
        with suppress(KernelError):
            await store.end(self._services.get(STATEMENTS), run_id, error)

    async def _beat(self, run_id: str) -> None:
        while True:
            await anyio.sleep(BEAT)
            with suppress(KernelError):
                await store.beat(self._services.get(STATEMENTS), run_id)

    async def open(self, actor: Actor, name: str) -> Download:
        """Open a backup to send it, and record that. Raises Forbidden, NotFound, BadRequest."""
        if not self._config.downloads:
            raise Forbidden("[plugins.backup] downloads is off: copy the file on the machine")
        backup = await to_thread.run_sync(open_backup, self._folder, name)
        try:
            statements = self._services.get(STATEMENTS)
            values = {"file": name, "size": backup.size, "address": actor.address}
            event = Event.core("backups", "BACKUP_DOWNLOADED", actor, name, new=values)
            await statements.run(actor, lambda tx: tx.record(event))
        except BaseException:
            backup.stream.close()
            raise
        return Download(backup, self._downloads)


class Download:
    """A backup that is being sent."""

    def __init__(self, backup: OpenBackup, limiter: ConcurrencyLimiter) -> None:
        self._stream = backup.stream
        self.size = backup.size
        self._limiter = limiter

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Read it in pieces, and close it in the end. Raises Unavailable for too many at once."""
        try:
            async with self._limiter.hold():
                yield self._read()
        finally:
            self._stream.close()

    async def _read(self) -> AsyncGenerator[bytes]:
        while piece := await to_thread.run_sync(self._stream.read, FILE_PIECE):
            yield piece


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
