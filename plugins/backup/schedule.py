"""Backups by schedule: one server runs the command, as an operator would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import structlog
from anyio.abc import Process

from kernel.public import REGISTRY, STATEMENTS, Context, Services, Unavailable

from . import store
from .config import BackupConfig

log = structlog.get_logger("caudex.backup")


class Schedule:
    """Makes and verifies backups when they are due.

    A process of its own does the work: it may take hours, and a server that stops ends it.
    """

    def __init__(self, services: Services, config: BackupConfig, context: Context) -> None:
        self._services = services
        self._config = config
        self._context = context
        self._folder = str(Path(config.folder).absolute())

    async def step(self) -> float:
        """Do what is due. Returns the seconds until the next look."""
        config = self._config
        ages = await store.read_ages(self._services.get(STATEMENTS), self._folder)
        try:
            if _is_due(ages.made, config.every_hours / 24):
                options = ["--no-verify", "--keep", str(config.keep)]
                if config.with_keys:
                    options.append("--with-keys")
                await self._run_caudex("backup", *options, self._folder)
                return 0.0
            if config.verify_days and _is_due(ages.verified, config.verify_days):
                await self._run_caudex("backup", "verify", ages.file)
        except Unavailable as error:
            log.error("a scheduled backup failed", error=error.message)
            return 600.0
        return 60.0

    async def _run_caudex(self, *words: str) -> None:
        options = ["--data-dir", str(self._context.data_dir)]
        if self._context.config_file:
            options += ["--config", self._context.config_file]
        # The embedded server's address is no setting, and a pooler is not for tools.
        url = self._services.get(REGISTRY).database_url
        env = {**os.environ, "CAUDEX_DATABASE__URL": url, "CAUDEX_DATABASE__DIRECT_URL": url}
        command = [sys.executable, "-m", "kernel", *words, *options]
        async with await anyio.open_process(command, env=env) as process:
            status, output, errors = await _wait(process)
        if status:
            lines = errors.strip().splitlines() or [f"status {status}"]
            raise Unavailable(lines[-1].removeprefix("caudex: "))
        log.info("a scheduled backup", said=output.strip())


async def _wait(process: Process) -> tuple[int, str, str]:
    """Wait for a command. If the server stops, the command removes what it began."""
    texts = dict[str, str]()

    async def read(name: str, stream: anyio.abc.ByteReceiveStream) -> None:
        content = b"".join([chunk async for chunk in stream])
        # A few lines; more than this is no message of ours.
        texts[name] = content[-20_000:].decode("utf-8", "replace")

    try:
        async with anyio.create_task_group() as tasks:
            for name in ("stdout", "stderr"):
                stream = getattr(process, name)
                if stream:
                    tasks.start_soon(read, name, stream)
        return await process.wait(), texts["stdout"], texts["stderr"]
    except anyio.get_cancelled_exc_class():
        process.terminate()
        with anyio.move_on_after(15, shield=True):
            await process.wait()
        raise


def _is_due(age: float | None, days: float) -> bool:
    return age is None or age >= days * 86_400
