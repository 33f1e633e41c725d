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
    command = [sys.executable, "-m", "kernel", "config", "check"]
    if config_file:
        command += ["--config", config_file]
    with anyio.move_on_after(seconds):
        process = await anyio.run_process(command, check=False, stdin=subprocess.DEVNULL)
        errors = process.stderr.decode(errors="replace")
        return [*NOTICE, *_reasons(errors, process.returncode)]
    return [*NOTICE, f"Broken: loading the plugins took more than {seconds:g} seconds."]


def _reasons(errors: str, status: int) -> Iterator[str]:
    if not status:
        yield "Every plugin loads: what stopped the last start came later; see its log."
        return
    lines = [line.removeprefix("caudex: ") for line in errors.splitlines()]
    reasons = [line for line in lines if line.strip() and not line.startswith("{")]
    if not reasons:
        reasons = [f"loading the plugins ended with status {status}"]
    for reason in reasons[-20:]:
        yield f"Broken: {reason}"
