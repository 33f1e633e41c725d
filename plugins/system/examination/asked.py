"""The services that the code of a plugin asks for, read from its bytecode."""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterator
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from kernel.public import HOOKS, REGISTRY, LoadedPlugin, ServiceKey

ALWAYS: Final = (HOOKS.name, REGISTRY.name)
"""Services of the kernel that are there from the load on."""
NAMING: Final = ("LOAD_ATTR", "LOAD_METHOD")


def undeclared(plugin: LoadedPlugin, provided: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of each service that a plugin asks for and does not declare."""
    declared = {key.name for key in (*plugin.requires, *plugin.uses, *plugin.finds)}
    known = {*declared, *provided, *ALWAYS}
    for code, names in _codes(type(plugin)):
        for line, key in _referred(code, names):
            if key.name not in known:
                yield f"{code.co_filename}:{line}", key.name


def _codes(plugin: type[LoadedPlugin]) -> Iterator[tuple[CodeType, dict[str, Any]]]:
    """Yield the code that a plugin's class leads to within its module or package, with its globals.

    Modules beside it that it does not use, such as tests, do not belong to the plugin.
    """
    home = plugin.__module__
    waiting: list[Any] = [plugin]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or not _is_within(getattr(value, "__module__", None), home):
            continue
        seen.add(id(value))
        if isinstance(value, type):
            waiting += [*value.__bases__, *map(_function, vars(value).values())]
        elif (function := _function(value)) is not None:
            for code in _nested(function.__code__):
                yield code, function.__globals__
                waiting += _named(code, function.__globals__, home)


def _is_within(module: str | None, home: str) -> bool:
    return module is not None and (module == home or module.startswith(f"{home}."))


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of those within it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _nested(each)


def _named(code: CodeType, names: dict[str, Any], home: str) -> Iterator[Any]:
    """Yield what code refers to by name, also as an attribute of a module of the package."""
    for value in [names[name] for name in code.co_names if name in names]:
        if isinstance(value, ModuleType) and _is_within(value.__name__, home):
            yield from (vars(value)[name] for name in code.co_names if name in vars(value))
        else:
            yield value


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


def _referred(code: CodeType, names: dict[str, Any]) -> Iterator[tuple[int, ServiceKey[Any]]]:
    """Yield the line of each key that code gives to a function; `KEY.name` only names it.

    What it is given to is not asked: `get` may have another name there.
    """
    line, steps = code.co_firstlineno, list(dis.get_instructions(code))
    for before, step, after in zip([None, *steps], steps, [*steps[1:], None], strict=False):
        line = step.starts_line or line
        key: Any = None
        if step.opname == "LOAD_GLOBAL":
            key = names.get(str(step.argval))
        elif before is not None and before.opname == "LOAD_GLOBAL" and step.opname in NAMING:
            module = names.get(str(before.argval))
            key = vars(module).get(step.argval) if isinstance(module, ModuleType) else None
        if isinstance(key, ServiceKey) and (after is None or after.opname not in NAMING):
            yield line, key
