"""`caudex serve --safe`: say which plugin is broken, and why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import anyio

NOTICE: Final = (
    "SAFE MODE: only what repairing a broken plugin needs; registration is closed.",
    "Other plugins, their [services] and plugins_dir are left out.",
)


async def notices(config_file: str, seconds: float = 20) -> list[str]:
    """Return what the banner says: the mode, and why the whole configuration does not start.

    It is loaded in a process of its own, as a broken plugin may hang or end its process.
    """
    words = [sys.executable, "-m", "kernel", "config", "check"]
    words += ["--config", config_file] if config_file else []
    with anyio.move_on_after(seconds):
        done = await anyio.run_process(words, check=False, stdin=subprocess.DEVNULL)
        said = done.stderr.decode(errors="replace") if done.returncode else ""
        return [*NOTICE, *_reasons(said, done.returncode)]
    return [*NOTICE, f"Broken: loading the plugins took more than {seconds:g} seconds."]


def _reasons(said: str, status: int) -> Iterator[str]:
    lines = [line.removeprefix("caudex: ") for line in said.splitlines()]
    shown = [line for line in lines if line.strip() and not line.startswith("{")]
    if status and not shown:
        shown = [f"loading the plugins ended with status {status}"]
    yield from (f"Broken: {line}" for line in shown[-20:])
    if not status:
        yield "Every plugin loads: what stopped the last start came later; see its log."
