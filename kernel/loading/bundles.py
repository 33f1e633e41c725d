"""The packages of plugins that come with Caudex; each describes itself."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from kernel import BUNDLES
from kernel.contracts.server import Bundle


def bundles() -> Iterator[tuple[str, Bundle]]:
    """Yield the name of each package and its description; no plugin is imported."""
    for package in BUNDLES:
        yield package, import_module(package).BUNDLE


def folders(package: str) -> list[str]:
    """Return the names of the plugins in a package; only the package is imported."""
    modules = pkgutil.iter_modules(import_module(package).__path__)
    return sorted(module.name for module in modules if module.ispkg)


def safe_settings() -> dict[str, dict[str, Any]]:
    """Return the plugins of `caudex serve --safe`, with the settings that it lays over."""
    settings: dict[str, dict[str, Any]] = {}
    for _, bundle in bundles():
        settings |= {plugin: dict(table) for plugin, table in bundle.safe.items()}
    return settings


def plugins_by_default() -> list[str]:
    """Return the plugins that are on by default."""
    return [
        plugin
        for package, bundle in bundles()
        if bundle.on_by_default
        for plugin in folders(package)
    ]


def preferred_providers() -> dict[str, str]:
    """Return the plugin that replaces the kernel as the provider of a service."""
    providers: dict[str, str] = {}
    for _, bundle in bundles():
        providers |= bundle.preferred
    return providers
