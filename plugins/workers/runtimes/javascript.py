"""Workers in JavaScript and TypeScript: under bun where there is one, else under node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kernel.public import BadRequest, LaunchSpec

from . import programs

ENTRIES: Final = ("index.ts", "index.js", "main.ts", "main.js")
LOCKS: Final = ("package-lock.json", "npm-shrinkwrap.json")
OLDEST_NODE: Final = (18,)
DETECTS: Final = ((20, 10), (22, 7))
"""Between these versions node needs an option to distinguish the two kinds of modules."""


class JavaScriptRuntime:
    """See `kernel.contracts.workers.Runtime`."""

    name = "javascript"

    def __init__(self, bun: str, node: str, prelude: Path, usable: programs.Usable) -> None:
        self._configured = (bun, node)
        self._prelude = prelude
        self._usable = usable

    def entry(self, folder: Path) -> Path | None:
        """See `Runtime.entry`."""
        places = [folder / name for name in ENTRIES] + [folder / "src" / name for name in ENTRIES]
        if self._bun() is None:  # compiled files may be beside their sources
            places.sort(key=lambda place: place.suffix == ".ts")
        return next((place for place in places if place.is_file()), None)

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """See `Runtime.installs`."""
        if not _has_dependencies(folder / "package.json"):
            return ()
        if bun := self._bun():
            # Else it links to files of its cache, which the worker may write to.
            copied = "--backend=copyfile"
            return [[bun, "install", "--production", copied, "--no-progress", "--no-summary"]]
        npm = programs.find(["npm"], self._usable)
        if npm is None:
            raise BadRequest("package.json: this server has neither bun nor npm to install it")
        locked = any((folder / name).is_file() for name in LOCKS)
        verb = "ci" if locked else "install"
        return [[npm, verb, "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier"]]

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """See `Runtime.launch`."""
        if bun := self._bun():
            return LaunchSpec(argv=(bun, "--preload", str(self._prelude), str(entry)))
        node = programs.find([self._configured[1] or "node"], self._usable)
        found = programs.version(node or "")
        if node is None or found < OLDEST_NODE:
            raise BadRequest("this server has neither bun nor node to run JavaScript with")
        if entry.suffix == ".ts":
            raise BadRequest(f"{entry.name}: TypeScript needs bun, which this server does not have")
        detect = ["--experimental-detect-module"] if DETECTS[0] <= found < DETECTS[1] else []
        return LaunchSpec(argv=(node, *detect, "--require", str(self._prelude), str(entry)))

    def _bun(self) -> str | None:
        return programs.find([self._configured[0] or "bun"], self._usable)


def _has_dependencies(file: Path) -> bool:
    try:
        found: Any = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("package.json is not valid JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("package.json must be an object")
    return bool(found.get("dependencies") or found.get("optionalDependencies"))  # type: ignore[reportUnknownMemberType]
