"""Loads the configuration again: a changed one, or with other plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from kernel.config.settings import Config
from kernel.contracts.server import LoadedPlugins
from kernel.errors import BootError

Load = Callable[..., LoadedPlugins]
"""`kernel.loading.loader.load`, which the modules below it cannot import."""


class Reloader:
    """Loads a server again beside the one that runs; nothing of it starts."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.read: Callable[[], Config] | None = None
        """Reads the configuration again, where `caudex serve` may do so at SIGHUP."""
        self.fault: BootError | None = None
        """The reason why the configuration could not be read, where a command runs without it."""

    def reload(self) -> LoadedPlugins:
        """Read the configuration and load it. Raises BootErrors."""
        assert self.read is not None
        return self._load(self.read(), to_serve=True)

    def load_with(
        self, config: Config, enabled: Mapping[str, bool], *, to_serve: bool
    ) -> LoadedPlugins:
        """Load a configuration with these plugins enabled or disabled. Raises BootErrors."""
        if self.fault:
            raise self.fault
        tables = dict(config.plugins)
        for name, is_enabled in enabled.items():
            tables[name] = {**tables.get(name, {}), "enabled": is_enabled}
        return self._load(msgspec.structs.replace(config, plugins=tables), to_serve=to_serve)
