"""Languages that workers are written in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernel.public import BadRequest, Runtime

from .javascript import JavaScriptRuntime
from .python import PythonRuntime

__all__ = ["JavaScriptRuntime", "PythonRuntime", "Runtimes"]


class Runtimes:
    """The registry: who takes some code is asked in order."""

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes

    def find(self, folder: Path) -> tuple[Runtime, Path]:
        """Return the runtime of unpacked code and its entry file. Raises BadRequest for none."""
        for runtime in self._runtimes:
            if (entry := runtime.entry(folder)) is not None:
                return runtime, entry
        names = ", ".join(runtime.name for runtime in self._runtimes)
        raise BadRequest(
            "the archive has no entry file at its top: worker.py, main.py, index.ts, index.js, "
            f"main.ts or main.js, the last four under src/ too (runtimes: {names})"
        )
