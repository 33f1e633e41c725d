"""Changed files, for `caudex serve --reload`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.public import LoadedPlugins

if TYPE_CHECKING:
    from watchfiles import Change

SOURCES: Final = (".py", ".sql", ".json")
"""Endings in the folders of a plugin's package."""
Files = Mapping[str, tuple[str, ...]]


class FileWatcher:
    """The files of a server, for the process manager.

    Folders are watched without those below them: the working directory may hold anything.
    """

    def __init__(self, config_file: str) -> None:
        self._config = Path(config_file or "caudex.toml").absolute()
        self._files: Files = {}
        self._changes: Iterator[object] = iter(())

    def files(self, plugins: LoadedPlugins) -> dict[str, tuple[str, ...]]:
        """The configuration, the plugins, and files that may be plugins."""
        endings: dict[str, tuple[str, ...]] = {str(self._config.parent): (self._config.name,)}
        plugins_dir = plugins.config.server.plugins_dir
        if plugins_dir:
            endings[os.path.abspath(plugins_dir)] = SOURCES

        for plugin in plugins.instances:
            file = Path(str(sys.modules[type(plugin).__module__].__file__)).absolute()
            folders: list[Path] = []
            if plugin.migrations:
                folders.append(plugin.migrations)
            if file.stem == "__init__":
                folders.append(file.parent)
                folders += [path for path in file.parent.rglob("*") if path.is_dir()]
            else:
                endings[str(file.parent)] = (*endings.get(str(file.parent), ()), file.name)
            for folder in folders:
                endings[str(folder)] = SOURCES
        return endings

    def changed(self, files: Files, since: float) -> bool:
        """Whether a file came, went or changed since the last call; the first call with other
        `files` compares with `since`, in seconds since the epoch. Waits for 0.2 s at most."""
        if files == self._files:
            return bool(next(self._changes))
        # Not needed, and not loaded, by a server in production.
        from watchfiles import watch

        self._files = dict(files)
        folders = [folder for folder in files if os.path.isdir(folder)]
        self._changes = watch(
            *folders, watch_filter=self._matters, recursive=False, step=50, rust_timeout=100,
            yield_on_timeout=True,
        )  # fmt: skip
        return bool(next(self._changes)) or self._latest() > since

    def _matters(self, change: Change, path: str) -> bool:
        folder, name = os.path.split(path)
        endings = self._files.get(folder, ())
        # A folder that came may belong to the package.
        is_new_folder = change.name == "added" and endings == SOURCES and name.isidentifier()
        return name.endswith(endings) or (is_new_folder and name != "__pycache__")

    def _latest(self) -> float:
        """Return when a file changed last, in seconds since the epoch."""
        latest = 0.0
        for folder, endings in self._files.items():
            if not os.path.isdir(folder):
                continue
            for entry in os.scandir(folder):
                if entry.name.endswith(endings):
                    latest = max(latest, entry.stat().st_mtime)
        return latest
