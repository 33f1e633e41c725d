"""What plugins contribute at load; each name belongs to one of them."""

from __future__ import annotations

from kernel.contracts.access import Permission
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.contracts.base import Command, ManifestSection, Middleware
from kernel.contracts.server import Migration

KERNEL_COMMANDS = ("serve", "migrate")


class Contributions:
    """What the plugins that are on contribute beside routes, hooks and services."""

    def __init__(self) -> None:
        self.permissions: list[Permission] = []
        self.commands: list[Command] = []
        self.manifest_sections: list[tuple[str, ManifestSection]] = []
        """(plugin, section) pairs."""
        self.middleware: list[tuple[str, Middleware]] = []
        """(plugin, middleware) pairs, outermost first; the first is the kernel's own."""
        self.migrations: list[Migration] = []
        """In the order in which the plugins start."""
        self.owners: dict[str, str] = {}
        """Owners of names: `permission 'x'`, `command 'y'`, `manifest section 'z'`."""
        for command in KERNEL_COMMANDS:
            self.owners[f"command {command!r}"] = "the kernel"
        for key in MANIFEST_KEYS:
            self.owners[f"manifest section {key!r}"] = "every manifest"

    def claim(self, name: str, plugin: str) -> str | None:
        """Give a name to the first plugin that asks, or return who has it."""
        owner = self.owners.get(name)
        if owner is None:
            self.owners[name] = f"plugin {plugin}"
        return owner

    def remove_sections(self, plugin: str) -> None:
        """Remove the sections of manifests of a plugin that is left out."""
        sections = self.manifest_sections
        sections[:] = [section for section in sections if section[0] != plugin]
