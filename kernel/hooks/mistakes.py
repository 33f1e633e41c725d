"""Implementations of hooks that would never be called, or not as intended."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction, isroutine, signature, unwrap
from types import CodeType
from typing import Any, cast

from kernel.contracts.hookspecs import NAMESPACE
from kernel.errors import BootError, nearest


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


def source_line(function: Callable[..., Any]) -> str:
    """Return where a function, or what is called in its place, is defined: `file:line`."""
    code = code_of(function)
    if code is None:
        return getattr(function, "__qualname__", repr(function))
    return f"{code.co_filename}:{code.co_firstlineno}"


def code_of(function: Any) -> CodeType | None:
    """Return the code of a function, a partial one or an object that can be called."""
    called = function
    while isinstance(called, partial):
        called = cast("Any", called).func
    # No source is read: starts are frequent.
    code = getattr(unwrap(cast("Callable[..., Any]", called)), "__code__", None)
    kind = cast("type[Any]", type(called))
    by_type = vars(kind).get("__call__")
    return code or getattr(by_type, "__code__", None)


def no_service(service: object) -> tuple[str, str] | None:
    """Return why what a factory returned is no service, and the remedy, or None."""
    if inspect.iscoroutine(service):
        service.close()
        return "its factory returned a coroutine", "write a plain def, or a context manager"
    if inspect.isasyncgen(service):
        return "its factory returned a generator", "mark it with @asynccontextmanager"
    if service is None:
        return "its factory returned nothing", "return the service"
    return None


def declared_at(plugin: type[object], attribute: str) -> str:
    """Return where a class assigns an attribute, or the class begins: `file:line`."""
    with suppress(OSError):  # without its source
        lines, first = inspect.getsourcelines(plugin)
        pattern = re.compile(rf"\s+{attribute}\b")
        offsets = (offset for offset, line in enumerate(lines) if pattern.match(line))
        return f"{inspect.getsourcefile(plugin)}:{first + next(offsets, 0)}"
    return plugin.__module__
