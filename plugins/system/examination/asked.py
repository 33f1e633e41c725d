"""The services that the code of a plugin asks for, read from its bytecode."""

from __future__ import annotations

import dis
import sys
from collections.abc import Collection, Iterator
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from kernel.public import HOOKS, REGISTRY, Plugin, ServiceKey

ALWAYS: Final = (HOOKS.name, REGISTRY.name)
"""Services of the kernel that are there from the load on."""
ASKING: Final = ("get", "find")


def undeclared(plugin: Plugin, provided: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of each service that a plugin asks for and does not declare."""
    declared = {key.name for key in (*plugin.requires, *plugin.uses, *plugin.finds)}
    known = {*declared, *provided, *ALWAYS}
    for module in _modules(plugin):
        for code in _codes(_values(module, type(plugin))):
            if any(name in code.co_names for name in ASKING):
                for line, key in _asked(code, vars(module)):
                    if key.name not in known:
                        yield f"{code.co_filename}:{line}", key.name


def _modules(plugin: Plugin) -> list[ModuleType]:
    """Return the plugin's module, and those of its package."""
    name = type(plugin).__module__
    inner = f"{name}." if hasattr(sys.modules[name], "__path__") else f"{name}:"
    return [module for each, module in list(sys.modules.items())
            if each == name or each.startswith(inner)]  # fmt: skip


def _codes(values: Iterator[Any]) -> Iterator[CodeType]:
    """Yield the code of each function and method, and of those within them."""
    waiting = [_function(value) for value in values]
    codes = [found.__code__ for found in waiting if found is not None]
    while codes:
        code = codes.pop()
        yield code
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]


def _values(module: ModuleType, kind: type[Plugin]) -> Iterator[Any]:
    """Yield what a module defines; of a module of tests only the plugin's class."""
    if module.__name__.rpartition(".")[2].startswith(("test_", "conftest")):
        yield from vars(kind).values()
        return
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == module.__name__:
            yield value
            if isinstance(value, type):
                yield from vars(value).values()


def _function(value: Any) -> FunctionType | None:
    """Return the function in a method, a property or a decorated function."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    value = getattr(value, "__func__", value)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, FunctionType) else None


def _asked(code: CodeType, names: dict[str, Any]) -> Iterator[tuple[int, ServiceKey[Any]]]:
    """Yield the line and the key of each `….get(KEY)` and `….find(KEY)`."""
    line, before = code.co_firstlineno, ""
    for step in dis.get_instructions(code):
        line = step.starts_line or line
        if step.opname == "LOAD_GLOBAL" and before in ASKING:
            key = names.get(str(step.argval))
            if isinstance(key, ServiceKey):
                yield line, key
        before = step.argval if isinstance(step.argval, str) else ""
