"""The command line for authors of apps: it makes, runs and ships an app, over HTTP only."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Command, Plugin, hookimpl

from .commands import author_commands


class AuthoringPlugin(Plugin):
    """Adds `caudex login`, `app`, `types`, `data` and `completion`."""

    name = "authoring"

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return author_commands()
