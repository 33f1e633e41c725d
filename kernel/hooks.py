"""Typed calls of hooks over pluggy: sync or async as the spec says, in dependency order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import (
    getmembers,
    getsourcefile,
    getsourcelines,
    iscoroutinefunction,
    isfunction,
    signature,
)
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

import anyio
import pluggy
import structlog

from kernel.contracts.services import ServiceKey
from kernel.errors import BootError, BootErrors, nearest
from kernel.hookspecs import NAMESPACE

P = ParamSpec("P")
R = TypeVar("R")
NOTIFY_LIMIT = 10.0
"""Seconds an observer may take; it runs outside of any transaction."""

log = structlog.get_logger("caudex.hooks")


class Implementation:
    """One plugin's implementation of one hook, with what its calls cost."""

    __slots__ = ("arguments", "calls", "durations", "errors", "function", "last_error", "patterns",
                 "plugin")  # fmt: skip

    def __init__(self, plugin: str, function: Callable[..., Any], arguments: Iterable[str]) -> None:
        self.plugin = plugin
        self.function = function
        self.arguments = tuple(arguments)
        self.patterns: tuple[str, ...] = getattr(function, "caudex_concerns", ("*",))
        self.calls = 0
        self.errors = 0
        self.last_error = ""
        self.durations: deque[float] = deque(maxlen=256)

    def concerns(self, subject: str) -> bool:
        """Whether `subject` (`crm.contacts`) matches a pattern of `@concerns`."""
        return any(
            pattern in ("*", subject)
            or (pattern.endswith(".*") and subject.startswith(pattern[:-1]))
            for pattern in self.patterns
        )

    def invoke(self, kwargs: dict[str, Any]) -> Any:
        """Call a sync implementation."""
        started = time.perf_counter()
        try:
            return self.function(*[kwargs[name] for name in self.arguments])
        except Exception as error:
            self.failed(error)
            raise
        finally:
            self._took(started)

    async def call(self, kwargs: dict[str, Any]) -> Any:
        """Call an async implementation."""
        started = time.perf_counter()
        try:
            return await self.function(*[kwargs[name] for name in self.arguments])
        except Exception as error:
            self.failed(error)
            raise
        finally:
            self._took(started)

    def failed(self, error: Exception) -> None:
        """Count a failure."""
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"

    def _took(self, started: float) -> None:
        self.calls += 1
        self.durations.append(time.perf_counter() - started)


class HookBus:
    """The hooks of one application."""

    def __init__(self, specs: ModuleType) -> None:
        self._pm = pluggy.PluginManager(NAMESPACE)
        self._specs: dict[str, Callable[..., Any]] = {}
        self._implementations: dict[str, list[Implementation]] = {}
        self.add_specs(specs, "kernel")

    def add_specs(self, specs: ModuleType, owner: str) -> None:
        """Let a plugin own hooks of its own, declared in its `hookspecs.py`."""
        names = {name for name, value in vars(specs).items() if _is_spec(value)}
        if clash := names & self._specs.keys():
            raise BootError(f"plugin {owner}", f"declares the hook {min(clash)!r} that exists")
        self._pm.add_hookspecs(specs)
        self._specs.update({name: getattr(specs, name) for name in names})

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin's implementations. Raises BootErrors for those that cannot be called."""
        if errors := list(_mistakes(type(plugin), name, self._specs)):
            raise BootErrors(errors)
        self._pm.register(plugin, name=name)

    def arrange(self, order: Sequence[str]) -> None:
        """Make the hooks callable: plugin by plugin in this order, without those not in it."""
        for name in self._specs:
            caller: pluggy.HookCaller = getattr(self._pm.hook, name)
            made = {i.plugin_name: (i.function, i.argnames) for i in caller.get_hookimpls()}
            found = [Implementation(plugin, *made[plugin]) for plugin in order if plugin in made]
            self._implementations[name] = found

    def implementations(self, spec: Callable[..., Any] | str) -> list[Implementation]:
        """Who implements a hook, in the order of calls."""
        return self._implementations[spec if isinstance(spec, str) else spec.__name__]

    def listening(self, spec: Callable[..., Any], subject: str) -> bool:
        """Whether anybody wants to hear a hook about `subject` (`crm.contacts`)."""
        return any(impl.concerns(subject) for impl in self.implementations(spec))

    def collect(
        self, spec: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """Call a sync hook and return (plugin, result) pairs, without the Nones."""
        results = [(i.plugin, i.invoke(kwargs)) for i in self.implementations(spec)]
        return [(plugin, result) for plugin, result in results if result is not None]

    async def first(
        self, spec: Callable[P, Awaitable[R | None]], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Return the first answer that is not None."""
        for impl in self.implementations(spec):
            if (result := await impl.call(kwargs)) is not None:
                return cast("R", result)
        return None

    async def gather(
        self, spec: Callable[P, Awaitable[R | None]], *args: P.args, **kwargs: P.kwargs
    ) -> list[R]:
        """Return every answer that is not None; an exception is the caller's."""
        answers = [await impl.call(kwargs) for impl in self.implementations(spec)]
        return [answer for answer in answers if answer is not None]

    async def emit(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call everyone who is concerned, in order; an exception stops and is raised."""
        for impl in self._concerned(spec, kwargs):
            await impl.call(kwargs)

    async def notify(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Tell everyone who is concerned; what an observer does wrong is logged, never raised."""
        for impl in self._concerned(spec, kwargs):
            try:
                with anyio.fail_after(NOTIFY_LIMIT):
                    await impl.call(kwargs)
            except Exception as error:
                if isinstance(error, TimeoutError):
                    impl.failed(error)  # it was cancelled, so it could not count this itself
                said = f"{type(error).__name__}: {error}"
                log.error("an observer failed", plugin=impl.plugin, hook=spec.__name__, error=said)

    def _concerned(
        self, spec: Callable[..., Any], kwargs: dict[str, Any]
    ) -> Iterable[Implementation]:
        told = kwargs.get("event") or kwargs.get("change")
        subject = getattr(told, "subject", None)
        impls = self.implementations(spec)
        return impls if subject is None else [i for i in impls if i.concerns(subject)]


def _is_spec(value: object) -> bool:
    return isfunction(value) and hasattr(value, f"{NAMESPACE}_spec")


def _mistakes(
    plugin: type[object], name: str, specs: Mapping[str, Callable[..., Any]]
) -> Iterable[BootError]:
    """Look for implementations that would never be called, or not as they are meant."""
    for attribute, method in getmembers(plugin, isfunction):
        where, marks = f"plugin {name}, {place(method)}", getattr(method, f"{NAMESPACE}_impl", None)
        spec = specs.get(attribute)
        if marks is None:
            if spec is not None:
                yield BootError(where, f"{attribute} is a hook's name", "mark it with @hookimpl")
        elif spec is not None:
            yield from _misfits(method, marks, spec, where)
        elif not marks["optionalhook"]:
            yield BootError(where, f"there is no hook {attribute!r}", nearest(attribute, specs))


def _misfits(
    method: Callable[..., Any], marks: Mapping[str, Any], spec: Callable[..., Any], where: str
) -> Iterable[BootError]:
    if iscoroutinefunction(method) is not iscoroutinefunction(spec):
        want = "async def" if iscoroutinefunction(spec) else "a plain def"
        yield BootError(where, f"{spec.__name__} must be {want}", "as its spec is")
    if marks["wrapper"] or marks["hookwrapper"]:
        yield BootError(where, f"{spec.__name__} is a wrapper", "write a plain implementation")
    known = signature(spec).parameters
    for argument in list(signature(method).parameters)[1:]:
        if argument not in known:
            problem = f"{spec.__name__} has no argument {argument!r}"
            yield BootError(where, problem, nearest(argument, known) or "it has none")


def place(function: Callable[..., Any]) -> str:
    """Say where a function stands: `file:line`."""
    try:
        return f"{getsourcefile(function)}:{getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return getattr(function, "__qualname__", repr(function))


HOOKS = ServiceKey[HookBus]("hooks")
"""The bus as a service, for plugins that call hooks themselves."""
