"""What is newer than this server process: packages on the disk, migrations, the database."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Final, Literal

import anyio
import msgspec
import structlog
from anyio import to_thread

from kernel.public import VERSION, LoadedPlugins, failure

DISTRIBUTION: Final = "caudex-core"
SECONDS: Final = 5.0
"""Until the database must have said which migrations it has."""

log = structlog.get_logger("caudex.system")


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """Something newer than what runs. `restart` or `upgrade` is what takes it into use.

    `name` is a package or a migration. `running` and `present` are versions, or null.
    """

    action: Literal["restart", "upgrade"]
    name: str
    running: str | None
    present: str | None
    text: str


async def find_hints(loaded: LoadedPlugins) -> list[Hint]:
    """Return what is newer, none where all is as it runs."""
    hints = await to_thread.run_sync(lambda: [*_find_packages(loaded), *_find_files(loaded)])
    with anyio.move_on_after(SECONDS):
        try:
            state = await loaded.examine_database()
        except Exception as error:  # a hint is no reason to fail
            log.warning("the migrations of the database are unknown", **failure(error))
        else:
            hints += [_describe_unknown(name) for name in state.unknown]
    return hints


def _find_packages(loaded: LoadedPlugins) -> Iterator[Hint]:
    """Compare the packages that run with those that are installed now."""
    running = {DISTRIBUTION: VERSION}
    for info in loaded.plugins:
        name, _, version = info.origin.rpartition(" ")
        if info.state == "on" and name:
            running[name] = version
    for name, version in running.items():
        try:
            present = metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue  # it runs from its sources
        if present != version:
            text = f"{name} {present} is installed, and {version} runs: restart the server"
            yield Hint(action="restart", name=name, running=version, present=present, text=text)


def _find_files(loaded: LoadedPlugins) -> Iterator[Hint]:
    """Find migrations that came to the disk after the start."""
    loaded_names = {migration.key for migration in loaded.migrations}
    for plugin in loaded.instances:
        folder = plugin.migrations
        if folder is None or not folder.is_dir():
            continue
        for path in sorted(folder.glob("*.sql")):
            is_loaded = (plugin.name, path.name) in loaded_names
            if is_loaded or path.name.endswith(".adopt.sql"):
                continue
            name = f"{plugin.name}/{path.name}"
            text = f"the migration {name} waits for a restart of the server"
            yield Hint(action="restart", name=name, running=None, present=None, text=text)


def _describe_unknown(name: str) -> Hint:
    text = f"a newer release has applied {name} to the database: upgrade this server"
    return Hint(action="upgrade", name=name, running=None, present=None, text=text)
