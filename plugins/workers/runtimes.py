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

IsUsable = Callable[[str], bool]
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
            entry = runtime.entry(folder)
            if entry is not None:
                return runtime, entry
        names = ", ".join(runtime.name for runtime in self._runtimes)
        raise BadRequest(
            "the archive has no entry file at its top: worker.py, main.py, index.ts, index.js, "
            f"main.ts or main.js, the last four under src/ too (runtimes: {names})"
        )


class PythonRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "python"

    def __init__(self, configured: str, sdk: Path, is_usable: IsUsable) -> None:
        self._configured = configured
        self._sdk = sdk
        self._is_usable = is_usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        entries = (folder / "worker.py", folder / "main.py")
        return next(filter(Path.is_file, entries), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`. An environment of its own is a folder of packages on the path."""
        file = folder / "requirements.txt"
        if not _has_requirements(file):
            return ()
        python = self._find_interpreter()
        uv = _find_uv()
        if _read_output(python, "-s", "-c", "import pip; print('pip')") == "pip":
            command = [
                python, "-s", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                "--no-input", "--no-cache-dir", "--no-warn-script-location",
            ]  # fmt: skip
        elif uv is not None:
            command = [uv, "pip", "install", "--quiet", "--no-cache", "--python", python]
        else:
            raise BadRequest("requirements.txt: this server has neither pip nor uv to install it")
        target = str(folder / PACKAGES)
        return [[*command, "--target", target, "--requirement", str(file)]]

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """See `Runtime.launch`."""
        return LaunchSpec(
            argv=(self._find_interpreter(), "-s", str(entry)),
            environment={
                "PYTHONPATH": f"{self._sdk}:{folder / PACKAGES}",
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONIOENCODING": "utf-8",
            },
        )

    def _find_interpreter(self) -> str:
        """Find an interpreter without our own packages: not our virtual environment's, but its
        base. Raises BadRequest."""
        names = [self._configured]
        if not self._configured:
            base = str(Path(sys.executable).resolve())
            names = [base, "/usr/bin/python3", "/usr/local/bin/python3", "python3"]
        fit = [name for name in names if _read_version(shutil.which(name) or "") >= (3, 9)]
        program = _find_program(fit, self._is_usable)
        if program is None:
            raise BadRequest("this server has no Python that workers could run with")
        return program


def _has_requirements(requirements: Path) -> bool:
    try:
        lines = read_small_file(requirements).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return False
    texts = [line.strip() for line in lines]
    return any(text and not text.startswith("#") for text in texts)


def _find_uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


class JavaScriptRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "javascript"

    def __init__(self, bun: str, node: str, prelude: Path, is_usable: IsUsable) -> None:
        self._bun = bun or "bun"
        self._node = node or "node"
        self._prelude = prelude
        self._is_usable = is_usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        names = ("index.ts", "index.js", "main.ts", "main.js")
        paths = [parent / name for parent in (folder, folder / "src") for name in names]
        if self._find_bun() is None:  # compiled files may be beside their sources
            paths.sort(key=lambda path: path.suffix == ".ts")
        return next(filter(Path.is_file, paths), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`."""
        if not _has_dependencies(folder / "package.json"):
            return ()
        bun = self._find_bun()
        if bun is not None:
            # Else it links to files of its cache, which the worker may write to. `--production`
            # would refuse a lock file that does not fit package.json.
            options = ["--omit=dev", "--backend=copyfile", "--no-progress", "--no-summary"]
            return [[bun, "install", *options]]
        npm = _find_program(["npm"], self._is_usable)
        if npm is None:
            raise BadRequest("package.json: this server has neither bun nor npm to install it")
        verbs = ["install"]
        locks = (folder / "package-lock.json", folder / "npm-shrinkwrap.json")
        if any(map(Path.is_file, locks)):
            verbs = ["ci", "install"]
        options = ["--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier"]
        return [[npm, verb, *options] for verb in verbs]

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """See `Runtime.launch`."""
        bun = self._find_bun()
        if bun is not None:
            return LaunchSpec(argv=(bun, "--preload", str(self._prelude), str(entry)))
        node = _find_program([self._node], self._is_usable)
        version = _read_version(node or "")
        if node is None or version < (18,):
            raise BadRequest("this server has neither bun nor node to run JavaScript with")
        if entry.suffix == ".ts":
            raise BadRequest(f"{entry.name}: TypeScript needs bun, which this server does not have")
        options = ["--require", str(self._prelude)]
        # Between these versions node needs an option to distinguish the two kinds of modules.
        if (20, 10) <= version < (22, 7):
            options.insert(0, "--experimental-detect-module")
        return LaunchSpec(argv=(node, *options, str(entry)))

    def _find_bun(self) -> str | None:
        return _find_program([self._bun], self._is_usable)


def _has_dependencies(file: Path) -> bool:
    try:
        package: Any = msgspec.json.decode(read_small_file(file))
    except FileNotFoundError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("package.json is not valid JSON") from None
    if not isinstance(package, dict):
        raise BadRequest("package.json must be an object")
    return bool(package.get("dependencies") or package.get("optionalDependencies"))  # type: ignore[reportUnknownMemberType]


def _find_program(names: Iterable[str], is_usable: IsUsable) -> str | None:
    """Return the first program, a name on PATH or a path, that workers can run.

    Where there are some and workers can run none of them, the first.
    """
    located = [shutil.which(name) for name in names if name]
    paths = [os.path.abspath(path) for path in located if path is not None]
    for path in paths:
        if is_usable(path):
            return path
    return paths[0] if paths else None


@cache
def _read_output(program: str, *arguments: str) -> str:
    """Return what a program prints, or nothing where it fails."""
    try:
        process = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=20, check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


def _read_version(program: str) -> tuple[int, ...]:
    """Return the version that a program prints, as numbers; `(0,)` where it prints none."""
    words = _read_output(program, "--version").split()
    if not words:
        return (0,)
    parts = words[-1].lstrip("v").split(".")
    return tuple(int(part) for part in parts if part.isdecimal()) or (0,)
