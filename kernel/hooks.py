"""Typed calls of hooks over pluggy: sync or async as the spec says, in dependency order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from inspect import getsourcefile, getsourcelines, iscoroutinefunction, isfunction
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

import anyio
import pluggy
import structlog

from kernel.contracts.services import ServiceKey
from kernel.errors import BootError, nearest
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
            self._failed(error)
            raise
        finally:
            self._took(started)

    async def call(self, kwargs: dict[str, Any]) -> Any:
        """Call an async implementation."""
        started = time.perf_counter()
        try:
            return await self.function(*[kwargs[name] for name in self.arguments])
        except Exception as error:
            self._failed(error)
            raise
        finally:
            self._took(started)

    def _failed(self, error: Exception) -> None:
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
        """Add a plugin's implementations; plugins come in dependency order."""
        _check_marks(plugin, name, self._specs)
        try:
            self._pm.register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            raise BootError(f"plugin {name}", _first_lines(str(error))) from None

    def check(self) -> list[BootError]:
        """Return what is wrong with the implementations, then make them callable."""
        errors = list(self._unknown())
        for name, spec in self._specs.items():
            caller: pluggy.HookCaller = getattr(self._pm.hook, name)
            found: list[Implementation] = []
            for impl in reversed(
                caller.get_hookimpls()
            ):  # pluggy's own order is last in, first out
                errors += _check_colour(impl, spec)
                found.append(Implementation(impl.plugin_name, impl.function, impl.argnames))
            self._implementations[name] = found
        return errors

    def _unknown(self) -> Iterable[BootError]:
        for name, caller in vars(self._pm.hook).items():
            if name in self._specs or not isinstance(caller, pluggy.HookCaller):
                continue
            for impl in caller.get_hookimpls():
                if not impl.optionalhook:
                    where = f"plugin {impl.plugin_name}, {_place(impl.function)}"
                    remedy = nearest(name, self._specs)
                    yield BootError(where, f"there is no hook {name!r}", remedy)

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
                log.error(
                    "an observer failed", plugin=impl.plugin, hook=spec.__name__, error=str(error)
                )

    def _concerned(
        self, spec: Callable[..., Any], kwargs: dict[str, Any]
    ) -> Iterable[Implementation]:
        told = kwargs.get("event") or kwargs.get("change")
        subject = getattr(told, "subject", None)
        impls = self.implementations(spec)
        return impls if subject is None else [i for i in impls if i.concerns(subject)]


def _is_spec(value: object) -> bool:
    return isfunction(value) and hasattr(value, f"{NAMESPACE}_spec")


def _check_marks(plugin: object, name: str, specs: Iterable[str]) -> None:
    """Refuse a method that is called like a hook and not marked: it would never be called."""
    for attribute in specs:
        method = getattr(type(plugin), attribute, None)
        if isfunction(method) and not hasattr(method, f"{NAMESPACE}_impl"):
            where = f"plugin {name}, {_place(method)}"
            raise BootError(where, f"{attribute} is a hook's name", "mark it with @hookimpl")


def _check_colour(impl: pluggy.HookImpl, spec: Callable[..., Any]) -> list[BootError]:
    wanted = iscoroutinefunction(spec)
    where = f"plugin {impl.plugin_name}, {_place(impl.function)}"
    if iscoroutinefunction(impl.function) is not wanted:
        want = "async def" if wanted else "a plain def"
        return [BootError(where, f"{spec.__name__} must be {want}", "as its spec is")]
    if impl.wrapper or impl.hookwrapper:
        return [BootError(where, f"{spec.__name__} is a wrapper", "write a plain implementation")]
    return []


def _place(function: Callable[..., Any]) -> str:
    try:
        return f"{getsourcefile(function)}:{getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return getattr(function, "__qualname__", repr(function))


def _first_lines(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


HOOKS = ServiceKey[HookBus]("hooks")
"""The bus as a service, for plugins that call hooks themselves."""
