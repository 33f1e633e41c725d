"""Workers in Python: `worker.py` or `main.py`, with `caudex_worker` on their path."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kernel.public import BadRequest, LaunchSpec

from . import programs

ENTRIES: Final = ("worker.py", "main.py")
PACKAGES: Final = ".caudex/packages"
"""Where the dependencies of an app lie, in its folder."""

OLDEST: Final = (3, 9)
SYSTEM: Final = ("/usr/bin/python3", "/usr/local/bin/python3")


class PythonRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "python"

    def __init__(self, configured: str, sdk: Path, usable: programs.Usable) -> None:
        self._configured = configured
        self._sdk = sdk
        self._usable = usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        return next((folder / name for name in ENTRIES if (folder / name).is_file()), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`. An environment of its own is a folder of packages on the path."""
        file = folder / "requirements.txt"
        if not file.is_file() or not _says_anything(file):
            return ()
        python, target = self._interpreter(), str(folder / PACKAGES)
        if programs.output(python, "-s", "-c", "import pip; print('pip')") == "pip":
            command = [
                python, "-s", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                "--no-input", "--no-cache-dir", "--no-warn-script-location",
            ]  # fmt: skip
        elif uv := _uv():
            command = [uv, "pip", "install", "--quiet", "--no-cache", "--python", python]
        else:
            raise BadRequest("requirements.txt: this server has neither pip nor uv to install it")
        return [[*command, "--target", target, "--requirement", str(file)]]

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """See `Runtime.launch`."""
        paths = [str(self._sdk), str(folder / PACKAGES)]
        return LaunchSpec(
            argv=(self._interpreter(), "-s", str(entry)),
            environment={
                "PYTHONPATH": ":".join(paths),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONIOENCODING": "utf-8",
            },
        )

    def _interpreter(self) -> str:
        """An interpreter without our own packages: not our virtual environment's, but its base."""
        base = str(Path(sys.executable).resolve())
        wanted = [self._configured] if self._configured else [base, *SYSTEM, "python3"]
        fit = [name for name in wanted if programs.version(shutil.which(name) or "") >= OLDEST]
        found = programs.find(fit, self._usable)
        if found is None:
            raise BadRequest("this server has no Python that workers could run with")
        return found


def _says_anything(requirements: Path) -> bool:
    lines = requirements.read_text("utf-8", "replace").splitlines()
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")
