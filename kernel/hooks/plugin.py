"""The base class of plugins: a name, the services that it needs, and hook implementations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import msgspec

from kernel.contracts.base import Context, ServiceKey
from kernel.toolkit.tasks import Tasks

__all__ = ["KERNEL_API", "NoConfig", "Plugin"]

KERNEL_API = 1
"""Version of what `caudex` exports; raised when a plugin written against it could break."""


class NoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of a plugin without settings."""


class Plugin:
    """Base class of every plugin; one instance for each application.

    `requires` names the services that it needs, `uses` optional ones that it looks up with
    `services.find`. Their providers start before it and end after it. `finds` names services that
    it looks up only after the start, such as in a handler; they do not affect the order.
    `name` is also the name of its folder, of its config table `[plugins.<name>]` and of its SQL
    schema `caudex_<name>`. `kernel_api` is the version of KERNEL_API that it was written for.
    `migrations` is the folder of its numbered `.sql` files, by default the one beside the module.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    kernel_api: ClassVar[int] = KERNEL_API
    requires: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    uses: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    finds: ClassVar[tuple[ServiceKey[Any], ...]] = ()
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    hookspecs: ClassVar[ModuleType | None] = None
    migrations: ClassVar[Path | None] = None

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    def on_reload(self, config: Any) -> Iterable[str]:
        """Apply a changed configuration, of the type `Config`, while the server runs.

        After SIGHUP each process calls it in its event loop. Return the settings that need a
        restart; by default all changed ones.
        """
        before = msgspec.structs.asdict(self.config)
        after = msgspec.structs.asdict(config)
        return [key for key, value in after.items() if value != before[key]]

    @cached_property
    def tasks(self) -> Tasks:
        """Starts background tasks: `self.tasks.every(60, self._sweep, "sweep")`."""
        return Tasks(self.name)
