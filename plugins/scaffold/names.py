"""Checks the name of a plugin, and derives further names from it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Final

from kernel.public import BadRequest

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
RULE: Final = "lower-case letters, digits and _, a letter first, 30 at most"
ENTRY_POINTS: Final = "caudex.plugins"


def check_name(name: str) -> None:
    """Refuse what is no name for a plugin, and what is one's already. Raises BadRequest."""
    if not NAME.fullmatch(name):
        message = f"{name!r} is no name for a plugin: {RULE}"
        suggestion = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:30]
        if suggestion:
            message += f" ({suggestion}?)"
        raise BadRequest(message)
    for present_name, owner in _list_present():
        if name == present_name:
            raise BadRequest(f"the name {name!r} is taken by {owner}: choose another")


def distribution(name: str) -> str:
    """What the package is called when it is installed."""
    return f"caudex-plugin-{name.replace('_', '-')}"


def class_name(name: str) -> str:
    """The name as the beginning of a class."""
    return "".join(word.title() for word in name.split("_"))


def _list_present() -> Iterator[tuple[str, str]]:
    """Names with whose they are; those of the kernel are SQL schemas."""
    yield "kernel", "the kernel"
    for package in ("plugins", "contrib"):
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            yield info.name, f"a plugin of {package}/"
    for entry in entry_points(group=ENTRY_POINTS):
        source = entry.dist.name if entry.dist else entry.value
        yield entry.name, f"an installed plugin ({source})"
