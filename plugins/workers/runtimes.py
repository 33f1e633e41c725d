"""Languages that workers are written in, and the programs that run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from kernel.public import BadRequest, LaunchSpec, Runtime, read_small_file

Usable = Callable[[str], bool]
"""Whether the account of a worker can run a program."""

PACKAGES: Final = ".caudex/packages"
"""Folder of a Python app's dependencies, in the folder of its code."""


class Runtimes:
    """The languages of this server, asked in order for the one of some code."""

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


class PythonRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "python"

    def __init__(self, configured: str, sdk: Path, usable: Usable) -> None:
        self._configured = configured
        self._sdk = sdk
        self._usable = usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        entries = (folder / "worker.py", folder / "main.py")
        return next(filter(Path.is_file, entries), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`. An environment of its own is a folder of packages on the path."""
        file = folder / "requirements.txt"
        if not _says_anything(file):
            return ()
        python, target = self._interpreter(), str(folder / PACKAGES)
        if _output_of(python, "-s", "-c", "import pip; print('pip')") == "pip":
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
        wanted = (
            [self._configured]
            if self._configured
            else [base, "/usr/bin/python3", "/usr/local/bin/python3", "python3"]
        )
        fit = [name for name in wanted if _version_of(shutil.which(name) or "") >= (3, 9)]
        found = _find_program(fit, self._usable)
        if found is None:
            raise BadRequest("this server has no Python that workers could run with")
        return found


def _says_anything(requirements: Path) -> bool:
    try:
        lines = read_small_file(requirements).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return False
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


class JavaScriptRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "javascript"

    def __init__(self, bun: str, node: str, prelude: Path, usable: Usable) -> None:
        self._configured = (bun, node)
        self._prelude = prelude
        self._usable = usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        names = ("index.ts", "index.js", "main.ts", "main.js")
        places = [at / name for at in (folder, folder / "src") for name in names]
        if self._bun() is None:  # compiled files may be beside their sources
            places.sort(key=lambda place: place.suffix == ".ts")
        return next(filter(Path.is_file, places), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`."""
        if not _has_dependencies(folder / "package.json"):
            return ()
        if bun := self._bun():
            # Else it links to files of its cache, which the worker may write to. `--production`
            # would refuse a lock file that does not fit package.json.
            copied = "--backend=copyfile"
            return [[bun, "install", "--omit=dev", copied, "--no-progress", "--no-summary"]]
        npm = _find_program(["npm"], self._usable)
        if npm is None:
            raise BadRequest("package.json: this server has neither bun nor npm to install it")
        locks = (folder / "package-lock.json", folder / "npm-shrinkwrap.json")
        verbs = ["ci", "install"] if any(map(Path.is_file, locks)) else ["install"]
        more = ("--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier")
        return [[npm, verb, *more] for verb in verbs]

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """See `Runtime.launch`."""
        if bun := self._bun():
            return LaunchSpec(argv=(bun, "--preload", str(self._prelude), str(entry)))
        node = _find_program([self._configured[1] or "node"], self._usable)
        found = _version_of(node or "")
        if node is None or found < (18,):
            raise BadRequest("this server has neither bun nor node to run JavaScript with")
        if entry.suffix == ".ts":
            raise BadRequest(f"{entry.name}: TypeScript needs bun, which this server does not have")
        # Between these versions node needs an option to distinguish the two kinds of modules.
        detect = ["--experimental-detect-module"] if (20, 10) <= found < (22, 7) else []
        return LaunchSpec(argv=(node, *detect, "--require", str(self._prelude), str(entry)))

    def _bun(self) -> str | None:
        return _find_program([self._configured[0] or "bun"], self._usable)


def _has_dependencies(file: Path) -> bool:
    try:
        found: Any = msgspec.json.decode(read_small_file(file))
    except FileNotFoundError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("package.json is not valid JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("package.json must be an object")
    return bool(found.get("dependencies") or found.get("optionalDependencies"))  # type: ignore[reportUnknownMemberType]


def _find_program(names: Iterable[str], usable: Usable) -> str | None:
    """Return the first program, a name on PATH or a path, that workers can run.

    Where there are some and workers can run none of them, the first.
    """
    found = [path for name in names if name and (path := shutil.which(name))]
    paths = [os.path.abspath(path) for path in found]
    return next(filter(usable, paths), paths[0] if paths else None)


@cache
def _output_of(program: str, *arguments: str) -> str:
    """What a program prints, or nothing where it fails."""
    try:
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=20, check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version_of(program: str) -> tuple[int, ...]:
    """The version that a program prints, as numbers; `(0,)` where it prints none."""
    words = _output_of(program, "--version").split()
    numbers = words[-1].lstrip("v").split(".") if words else []
    return tuple(int(number) for number in numbers if number.isdecimal()) or (0,)
