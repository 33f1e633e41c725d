"""Implementations of hooks that would never be called, or not as intended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction, isroutine, signature
from typing import Any

from kernel.contracts.hookspecs import NAMESPACE
from kernel.errors import BootError, nearest
from kernel.errors.source_lines import source_line


def mistakes(
    plugin: type[object], name: str, specs: Mapping[str, Callable[..., Any]]
) -> Iterable[BootError]:
    """Find implementations that would never be called, or not as intended."""
    for attribute in dir(plugin):
        method: Any = getattr(plugin, attribute, None)
        spec = specs.get(attribute)
        marks = getattr(method, f"{NAMESPACE}_impl", None)
        if spec is None and not marks:
            continue
        where = f"plugin {name}, {source_line(method)}"
        if spec and marks:
            yield from _misfits(method, marks, spec, where)
        elif spec and isroutine(method):
            yield BootError(where, f"{attribute} is a hook's name", "add @hookimpl, or rename it")
        elif marks and not marks["optionalhook"]:
            yield BootError(where, f"there is no hook {attribute!r}", nearest(attribute, specs))


def _misfits(
    method: Callable[..., Any], marks: Mapping[str, Any], spec: Callable[..., Any], where: str
) -> Iterable[BootError]:
    is_async = iscoroutinefunction(spec)
    if iscoroutinefunction(method) is not is_async:
        kind = "async def" if is_async else "a plain def"
        yield BootError(where, f"{spec.__name__} must be {kind}", "as its spec is")
    if marks["tryfirst"] or marks["trylast"]:
        problem = f"{spec.__name__} is marked tryfirst or trylast, which has no effect"
        yield BootError(where, problem, "remove it: plugins have the order of what they need")
    if marks["wrapper"] or marks["hookwrapper"]:
        yield BootError(where, f"{spec.__name__} is a wrapper", "write a plain implementation")
    arguments = signature(spec).parameters
    parameters = list(signature(method).parameters)
    if parameters[:1] != ["self"]:
        yield BootError(where, f"{spec.__name__} has no self", "make it the first argument")
    for parameter in parameters[1:]:
        if parameter not in arguments:
            problem = f"{spec.__name__} has no argument {parameter!r}"
            remedy = nearest(parameter, arguments) or "remove it: it has none"
            yield BootError(where, problem, remedy)
