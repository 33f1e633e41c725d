"""Runs `caudex` as an operator would, in a process of its own that may take hours."""

from __future__ import annotations

import os
import sys

import anyio
from anyio.abc import Process

from kernel.public import REGISTRY, Context, Services, Unavailable


async def run_caudex(services: Services, context: Context, *words: str) -> str:
    """Run a command and return what it printed. Raises Unavailable with its last line.

    A server that stops ends it, and the command removes what it began.
    """
    options = ["--data-dir", str(context.data_dir)]
    if context.config_file:
        options += ["--config", context.config_file]
    # The embedded server's address is no setting, and a pooler is not for tools.
    url = services.get(REGISTRY).database_url
    env = {**os.environ, "CAUDEX_DATABASE__URL": url, "CAUDEX_DATABASE__DIRECT_URL": url}
    command = [sys.executable, "-m", "kernel", *words, *options]
    async with await anyio.open_process(command, env=env) as process:
        status, output, errors = await _wait(process)
    if status:
        lines = errors.strip().splitlines() or [f"status {status}"]
        raise Unavailable(lines[-1].removeprefix("caudex: "))
    return output.strip()


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
