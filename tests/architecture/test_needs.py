"""A plugin names each service that it uses, so that `plugins plan` shows which plugins need it."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.pages.code import plugin_classes
from kernel.contracts.base import ServiceKey
from kernel.hooks.plugin import Plugin

CLASSES = [pytest.param(cls, id=cls.name) for cls in plugin_classes()]


def asked(cls: type[Plugin], method: str) -> Iterator[tuple[str, str]]:
    """Keys that a plugin's modules hand to a method of `services`, and where."""
    package = Path(inspect.getfile(cls)).parent
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package).with_suffix("").parts
        if "template" in inner or "sdk" in inner:
            continue
        dotted = ".".join([cls.__module__, *(part for part in inner if part != "__init__")])
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Name(id=name)]) if (
                    attr == method
                ):
                    key = getattr(importlib.import_module(dotted), name, None)
                    if isinstance(key, ServiceKey):
                        yield key.name, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("cls", CLASSES)
def test_what_a_plugin_asks_for_it_names(cls: type[Plugin]) -> None:
    named = {key.name for key in (*cls.uses, *cls.finds, *cls.requires)}
    assert [found for found in asked(cls, "find") if found[0] not in named] == []


def test_what_is_asked_for_is_seen() -> None:
    """Else the test above would find nothing."""
    seen = {(cls.name, key) for cls in plugin_classes() for key, _ in asked(cls, "find")}
    assert {("vault", "workers"), ("workers", "records"), ("auth", "access")} <= seen
