"""Typed calls of hooks over pluggy: sync or async as the spec says, in dependency order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import isfunction
from itertools import chain
from math import inf
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar

import anyio
import pluggy
import structlog

from kernel import errors
from kernel.contracts import hookspecs
from kernel.contracts.base import Event
from kernel.contracts.hookspecs import NAMESPACE
from kernel.contracts.server.hooks import Spec
from kernel.hooks.implementation import HookImplementation
from kernel.hooks.implementation_checks import mistakes

P = ParamSpec("P")
R = TypeVar("R")
OBSERVERS_SECONDS: Final = 30.0
"""Seconds for all observers of one commit: its caller cannot cancel them."""

log = structlog.get_logger("caudex.hooks")


class _Plugins(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Read the mark of a method. The original looks for it along each class of the plugin, for
        every attribute, which took a quarter of the time of loading."""
        return getattr(getattr(type(plugin), name, None), f"{NAMESPACE}_impl", None)


class PluggyBus:
    """See `kernel.contracts.server.HookBus`."""

    max_subjects = 10_000
    """Subjects whose listeners are cached: apps and their entities come and go."""

    def __init__(self, specs: ModuleType, limit: float = inf) -> None:
        """`limit` is the time limit of each async call, in seconds."""
        self._limit = limit
        self._returns = dict[str, type[Any]]()
        self._listeners: dict[tuple[str, str], list[HookImplementation]] = {}
        self._pm = _Plugins(NAMESPACE)
        self._specs: dict[str, Callable[..., Any]] = {}
        self._implementations: dict[str, list[HookImplementation]] = {}
        self.add_specs(specs, "kernel")

    def add_specs(self, specs: ModuleType, owner: str) -> None:
        """Add the hooks that a plugin declares in its `hookspecs.py`."""
        marked = f"{NAMESPACE}_spec"
        functions = {name: value for name, value in vars(specs).items() if isfunction(value)}
        declared = {name: spec for name, spec in functions.items() if hasattr(spec, marked)}
        if not declared:
            remedy = "mark it with @hookspec"
            raise errors.BootError(f"plugin {owner}", "its hookspecs hold none", remedy)
        existing = declared.keys() & self._specs.keys()
        if existing:
            problem = f"declares the hook {min(existing)!r}, which exists"
            raise errors.BootError(f"plugin {owner}", problem)
        self._pm.add_hookspecs(specs)
        self._specs |= declared
        self._returns.update(getattr(specs, "RETURNS", {}))

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin's implementations. Raises BootErrors for those that cannot be called."""
        errors.raise_all(list(mistakes(type(plugin), name, self._specs)))
        self._pm.register(plugin, name=name)

    def arrange(self, order: Sequence[str]) -> None:
        """Order the implementations by `order`, and leave out those of other plugins."""
        self._listeners.clear()
        for name in self._specs:
            self._implementations[name] = [
                self._implementation(name, registered)
                for registered in self._registered(name, order)
            ]

    def _registered(self, hook: str, order: Sequence[str]) -> list[pluggy.HookImpl]:
        """Return what pluggy knows of a hook, in this order of plugins."""
        caller: pluggy.HookCaller = getattr(self._pm.hook, hook)
        by_plugin = {registered.plugin_name: registered for registered in caller.get_hookimpls()}
        return [by_plugin[plugin] for plugin in order if plugin in by_plugin]

    def _implementation(self, hook: str, registered: pluggy.HookImpl) -> HookImplementation:
        plugin = registered.plugin_name
        implementation = HookImplementation(plugin, registered.function, registered.argnames, hook)
        implementation.limit = self._limit
        implementation.returns = self._returns.get(hook, object)
        return implementation

    def implementations(self, spec: Callable[..., Any] | str) -> list[HookImplementation]:
        """Return the implementations of a hook, in the order of calls."""
        name = spec if isinstance(spec, str) else spec.__name__
        return self._implementations[name]

    def drop(self, plugin: str) -> None:
        """Remove the implementations of a plugin, such as one that failed to start."""
        for implementations in self._implementations.values():
            implementations[:] = [impl for impl in implementations if impl.plugin != plugin]
        self._listeners.clear()

    def add(self, implementation: HookImplementation) -> None:
        """Add an implementation that belongs to no plugin; `drop` removes it again."""
        self._implementations[implementation.hook].append(implementation)
        self._listeners.clear()

    def all_implementations(self) -> Iterator[HookImplementation]:
        """Return every implementation of every hook."""
        return chain.from_iterable(self._implementations.values())

    def collect(
        self, spec: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """See `HookBus.collect`."""
        results = list[tuple[str, R]]()
        for implementation in self._find(spec, args):
            result = implementation.invoke(kwargs)
            if result is not None:
                results.append((implementation.plugin, result))
        return results

    async def first(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """See `HookBus.first`."""
        for implementation in self._find(spec, args):
            answer = await implementation.call(kwargs)
            if answer is not None:
                return answer
        return None

    async def gather(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """See `HookBus.gather`."""
        answers = list[R]()
        for implementation in self._find(spec, args):
            answer = await implementation.call(kwargs)
            if answer is not None:
                answers.append(answer)
        return answers

    async def emit(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """See `HookBus.emit`."""
        for implementation in self._find_matching(spec, args, kwargs):
            await implementation.call(kwargs)

    async def notify(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """See `HookBus.notify`."""
        for implementation in self._find_matching(spec, args, kwargs):
            try:
                await implementation.attempt(kwargs)
            except errors.HookTimeout:
                pass  # logged already
            except Exception as error:
                implementation.blame.report(error)

    async def notify_committed(self, events: Sequence[Event]) -> None:
        """See `HookBus.notify_committed`."""
        if not events:
            return
        left_out = len(events)
        seconds = OBSERVERS_SECONDS
        if self._limit != inf:  # one call may take as long
            seconds = max(seconds, self._limit)
        with anyio.move_on_after(seconds, shield=True):
            for event in events:
                await self.notify(hookspecs.event_committed, event=event)
                left_out -= 1
        if left_out:
            log.error("observers took too long", events=len(events), left_out=left_out)

    def _find(self, spec: Callable[..., Any], args: tuple[object, ...]) -> list[HookImplementation]:
        """Return the implementations of a hook, which get their arguments by name."""
        if args:
            raise TypeError("the arguments of a hook are passed by name")
        return self._implementations[spec.__name__]

    def _find_matching(
        self, spec: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> list[HookImplementation]:
        """Return the implementations that match the event or the change of a call."""
        implementations = self._find(spec, args)
        subject = getattr(kwargs.get("event") or kwargs.get("change"), "subject", None)
        if subject is None:
            return implementations
        return self.listeners(spec, subject)

    def listeners(self, spec: Callable[..., Any], subject: str) -> list[HookImplementation]:
        """See `HookBus.listeners`."""
        implementations = self._implementations[spec.__name__]
        if not implementations:
            return implementations
        key = spec.__name__, subject
        listeners = self._listeners.get(key)
        if listeners is not None:
            return listeners
        listeners = [impl for impl in implementations if impl.matches(subject)]
        if any(impl.subjects.find is not None for impl in implementations):
            return listeners  # they can be others next time
        if len(self._listeners) >= self.max_subjects:
            self._listeners.clear()
        self._listeners[key] = listeners
        return listeners
