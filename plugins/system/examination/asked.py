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
    available = {*declared, *provided, *ALWAYS}
    for code, names in _find_code(type(plugin)):
        for line, key in _find_keys(code, names):
            if key.name not in available:
                yield f"{code.co_filename}:{line}", key.name


def _find_code(plugin: type[LoadedPlugin]) -> Iterator[tuple[CodeType, dict[str, Any]]]:
    """Yield the code that a plugin's class leads to within its module or package, with its globals.

    Modules beside it that it does not use, such as tests, do not belong to the plugin.
    """
    home = plugin.__module__
    waiting: list[Any] = [plugin]
    visited: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in visited or not _is_within(getattr(value, "__module__", None), home):
            continue
        visited.add(id(value))
        if isinstance(value, type):
            waiting += value.__bases__
            waiting += [_unwrap(attribute) for attribute in vars(value).values()]
            continue
        function = _unwrap(value)
        if function is None:
            continue
        for code in _find_nested(function.__code__):
            yield code, function.__globals__
            waiting += _resolve_names(code, function.__globals__, home)


def _is_within(module: str | None, home: str) -> bool:
    return module is not None and (module == home or module.startswith(f"{home}."))


def _find_nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _find_nested(constant)


def _resolve_names(code: CodeType, names: dict[str, Any], home: str) -> Iterator[Any]:
    """Yield what code refers to by name, also as an attribute of a module of the package."""
    for value in [names[name] for name in code.co_names if name in names]:
        if isinstance(value, ModuleType) and _is_within(value.__name__, home):
            yield from (vars(value)[name] for name in code.co_names if name in vars(value))
        else:
            yield value


def _unwrap(value: Any) -> FunctionType | None:
    """Return the function in a method, a property or a decorated function."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    value = getattr(value, "__func__", value)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    if isinstance(value, FunctionType):
        return value
    return None


def _find_keys(code: CodeType, names: dict[str, Any]) -> Iterator[tuple[int, ServiceKey[Any]]]:
    """Yield the line of each key that code gives to a function; `KEY.name` only names it.

    What it is given to is not asked: `get` may have another name there.
    """
    line = code.co_firstlineno
    steps = list(dis.get_instructions(code))
    for before, step, after in zip([None, *steps], steps, [*steps[1:], None], strict=False):
        line = step.starts_line or line
        key: Any = None
        if step.opname == "LOAD_GLOBAL":
            key = names.get(str(step.argval))
        elif before is not None and before.opname == "LOAD_GLOBAL" and step.opname in NAMING:
            module = names.get(str(before.argval))
            if isinstance(module, ModuleType):
                key = vars(module).get(step.argval)
        is_only_named = after is not None and after.opname in NAMING
        if isinstance(key, ServiceKey) and not is_only_named:
            yield line, key
