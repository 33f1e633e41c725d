"""The READMEs of plugins."""

from __future__ import annotations

import sys
from pathlib import Path

from kernel.public import HOOKS, REGISTRY, NotFound, Services

from .models import Manual

LARGEST = 200_000
"""Bytes of a README that are shown."""


def manual(services: Services, plugin: str) -> Manual:
    """Return the README beside a plugin's module. Raises NotFound for an unknown plugin."""
    if plugin not in {info.name for info in services.get(REGISTRY).plugins}:
        raise NotFound(f"plugin '{plugin}' not found")
    folder = _folder(services, plugin)
    path = folder / "README.md" if folder else None
    if path is None or not path.is_file():
        return Manual("")
    return Manual(path.read_bytes()[:LARGEST].decode(errors="replace"))


def _folder(services: Services, plugin: str) -> Path | None:
    for implementation in services.get(HOOKS).everything():
        if implementation.plugin == plugin:
            module = sys.modules[implementation.function.__module__]
            return Path(module.__file__ or "").parent
    return None
