"""The plugins of a server: those that were found, and the objects of those that are on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kernel.config.log import mask
from kernel.contracts.server import PluginInfo, TaskInfo
from kernel.errors import BootError
from kernel.hooks.plugin import Plugin


class PluginSet:
    """Every plugin that was found, with its state.

    off         it is disabled
    failed      it does not load, and so the server does not start
    degraded    it does not load or start, and is left out
    on          it is loaded; while the server runs, `failing` has it if its lifespan fails
    """

    def __init__(self) -> None:
        self.instances: list[Plugin] = []
        """The plugins that load, in the order in which they start."""
        self.infos: list[PluginInfo] = []
        self.failing: dict[str, str] = {}
        """Plugins whose lifespan or service failed while the server runs, each with the place."""

    @property
    def working(self) -> Sequence[Plugin]:
        """The plugins that are on, without those that were left out."""
        on = {info.name for info in self.infos if info.state == "on"}
        return [plugin for plugin in self.instances if plugin.name in on]

    @property
    def tasks(self) -> Mapping[str, Sequence[TaskInfo]]:
        """See `Registry.tasks`."""
        return {plugin.name: plugin.tasks.info() for plugin in self.working}

    @property
    def homes(self) -> Mapping[str, str]:
        """The plugin of each module, and of each package with all its modules."""
        packages: dict[str, str] = {}
        modules: dict[str, str] = {}
        for plugin in self.instances:
            module = sys.modules[type(plugin).__module__]
            modules[module.__name__] = plugin.name
            if module.__package__:
                packages[module.__package__] = plugin.name
        return packages | modules

    def find(self, name: str) -> Plugin | None:
        """Return the object of a plugin, or None where it is not loaded."""
        return next((plugin for plugin in self.instances if plugin.name == name), None)

    def remove(self, name: str) -> None:
        """Remove the object of a plugin."""
        self.instances[:] = [plugin for plugin in self.instances if plugin.name != name]

    def mark_left_out(self, name: str, error: BootError) -> None:
        """Note that a loaded plugin is left out, and why."""
        [position] = [at for at, info in enumerate(self.infos) if info.name == name]
        info = self.infos[position]
        note = mask(str(error))
        self.infos[position] = msgspec.structs.replace(info, state="degraded", note=note)

    def arrange(self, instances: Iterable[Plugin]) -> list[str]:
        """Put the plugins into this order, and return their names."""
        self.instances = list(instances)
        names = [plugin.name for plugin in self.instances]
        rank = {name: position for position, name in enumerate(names)}
        self.infos.sort(key=lambda info: (rank.get(info.name, len(rank)), info.name))
        return names
