"""Creates a plugin: a package with its modules, tests that pass, and an entry point."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Command, Plugin, hookimpl

from .commands import scaffold_commands


class ScaffoldPlugin(Plugin):
    """Adds `caudex plugin new`."""

    name = "scaffold"

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return scaffold_commands()
