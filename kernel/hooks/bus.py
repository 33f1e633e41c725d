"""Typed calls of hooks over pluggy: sync or async as the spec says, in dependency order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from inspect import getmembers, iscoroutinefunction, isfunction, signature, unwrap
from itertools import chain
from time import perf_counter, time
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import anyio
import pluggy
import structlog

from kernel.contracts.base import ServiceKey
from kernel.errors import FIX_PLUGIN, BootError, KernelError, nearest, raise_all, raised_at
from kernel.hooks import NAMESPACE

P = ParamSpec("P")
R = TypeVar("R")
NOTIFY_LIMIT = 10.0
"""Seconds that an observer may take; it runs outside of any transaction."""

log = structlog.get_logger("caudex.hooks")


class Implementation:
    """One plugin's implementation of one hook, with the statistics of its calls."""

    __slots__ = ("arguments", "calls", "durations", "errors", "failed_at", "function", "hook",
                 "last_error", "observe", "patterns", "plugin", "refusals", "seconds")  # fmt: skip

    def __init__(
        self, plugin: str, function: Callable[..., Any], arguments: Iterable[str], hook: str = ""
    ) -> None:
        self.plugin = plugin
        self.hook = hook or function.__name__
        self.function = function
        self.arguments = tuple(arguments)
        self.patterns: tuple[str, ...] = getattr(function, "caudex_subjects", ("*",))
        self.calls = 0
        self.seconds = 0.0
        self.refusals = 0
        """Calls that raised a KernelError below 500, such as 401 or 403."""
        self.errors = 0
        self.last_error = ""
        """Class and place; the message, which may hold values, is only in the log."""
        self.failed_at = 0.0
        """Time of the last error, in seconds since the epoch."""
        self.durations: deque[float] = deque(maxlen=256)
        self.observe: Callable[[float], None] | None = None
        """Called with the seconds of each call, where one measures more than this does."""

    def matches(self, subject: str) -> bool:
        """Whether `subject` (`crm.contacts`) matches a pattern of `@for_subjects`."""
        return any(
            pattern in ("*", subject)
            or (pattern.endswith(".*") and subject.startswith(pattern[:-1]))
            for pattern in self.patterns
        )

    def invoke(self, kwargs: dict[str, Any]) -> Any:
        """Call a sync implementation."""
        began = perf_counter()
        try:
            return self.function(*[kwargs[name] for name in self.arguments])
        except Exception as error:
            self.failed(error)
            raise
        finally:
            self.took(began)

    async def call(self, kwargs: dict[str, Any]) -> Any:
        """Call an async implementation."""
        began = perf_counter()
        try:
            return await self.function(*[kwargs[name] for name in self.arguments])
        except Exception as error:
            self.failed(error)
            raise
        finally:
            self.took(began)

    def failed(self, error: Exception) -> None:
        """Count a failure, and add a note with the plugin and the place to the error."""
        if isinstance(error, KernelError) and error.status < 500:
            self.refusals += 1
            return
        at = self.raised_at(error)
        self.errors += 1
        self.failed_at = time()
        self.last_error = f"{type(error).__name__} at {at}"
        error.add_note(f"plugin {self.plugin}, hook {self.hook}, {at}")

    def raised_at(self, error: Exception) -> str:
        """Return where it raised, or where it is defined."""
        return raised_at(error) or place(self.function)

    def took(self, began: float) -> None:
        """Count a call that began at that time of `perf_counter`."""
        took = perf_counter() - began
        self.calls += 1
        self.seconds += took
        self.durations.append(took)
        if self.observe is not None:
            self.observe(took)


class HookBus:
    """The hooks of one application."""

    max_subjects = 10_000
    """Subjects whose listeners are cached: apps and their entities come and go."""

    def __init__(self, specs: ModuleType) -> None:
        self._listeners: dict[tuple[str, str], list[Implementation]] = {}
        self._pm = pluggy.PluginManager(NAMESPACE)
        self._specs: dict[str, Callable[..., Any]] = {}
        self._implementations: dict[str, list[Implementation]] = {}
        self.add_specs(specs, "kernel")

    def add_specs(self, specs: ModuleType, owner: str) -> None:
        """Add the hooks that a plugin declares in its `hookspecs.py`."""
        names = {name for name, value in vars(specs).items() if _is_spec(value)}
        if not names:
            raise BootError(f"plugin {owner}", "its hookspecs hold none", "mark it with @hookspec")
        if clash := names & self._specs.keys():
            raise BootError(f"plugin {owner}", f"declares the hook {min(clash)!r}, which exists")
        self._pm.add_hookspecs(specs)
        self._specs.update({name: getattr(specs, name) for name in names})

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin's implementations. Raises BootErrors for those that cannot be called."""
        raise_all(list(_mistakes(type(plugin), name, self._specs)))
        self._pm.register(plugin, name=name)

    def arrange(self, order: Sequence[str]) -> None:
        """Make the hooks callable: plugin by plugin in this order, without those not in it."""
        self._listeners.clear()
        for name in self._specs:
            caller: pluggy.HookCaller = getattr(self._pm.hook, name)
            made = {i.plugin_name: (i.function, i.argnames) for i in caller.get_hookimpls()}
            self._implementations[name] = [
                Implementation(plugin, *made[plugin], name) for plugin in order if plugin in made
            ]

    def implementations(self, spec: Callable[..., Any] | str) -> list[Implementation]:
        """Return the implementations of a hook, in the order of calls."""
        return self._implementations[spec if isinstance(spec, str) else spec.__name__]

    def drop(self, plugin: str) -> None:
        """Remove the implementations of a plugin, such as one that failed to start."""
        for implementations in self._implementations.values():
            implementations[:] = [impl for impl in implementations if impl.plugin != plugin]
        self._listeners.clear()

    def add(self, implementation: Implementation) -> None:
        """Add an implementation that belongs to no plugin; `drop` removes it again."""
        self._implementations[implementation.hook].append(implementation)
        self._listeners.clear()

    def everything(self) -> Iterator[Implementation]:
        """Return every implementation of every hook."""
        return chain.from_iterable(self._implementations.values())

    def has_listeners(self, spec: Callable[..., Any], subject: str) -> bool:
        """Whether an implementation of the hook matches `subject` (`crm.contacts`)."""
        return bool(self._matching(spec, subject))

    def collect(
        self, spec: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """Call a sync hook and return (plugin, result) pairs, without the Nones."""
        _by_name(args)
        results = [(i.plugin, i.invoke(kwargs)) for i in self.implementations(spec)]
        return [(plugin, result) for plugin, result in results if result is not None]

    async def first(
        self, spec: Callable[P, Awaitable[R | None]], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Return the first answer that is not None."""
        _by_name(args)
        for impl in self._implementations[spec.__name__]:
            if (answer := await impl.call(kwargs)) is not None:
                return answer
        return None

    async def gather(
        self, spec: Callable[P, Awaitable[R | None]], *args: P.args, **kwargs: P.kwargs
    ) -> list[R]:
        """Return every answer that is not None; an exception is the caller's."""
        _by_name(args)
        answers = [await impl.call(kwargs) for impl in self.implementations(spec)]
        return [answer for answer in answers if answer is not None]

    async def emit(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call the matching implementations in order; an exception stops and is raised."""
        _by_name(args)
        for impl in self._recipients(spec, kwargs):
            await impl.call(kwargs)

    async def notify(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call the matching implementations; their errors are logged, never raised."""
        _by_name(args)
        for impl in self._recipients(spec, kwargs):
            try:
                with anyio.move_on_after(NOTIFY_LIMIT) as scope:
                    await impl.call(kwargs)
                if scope.cancelled_caught:  # it could not count this itself
                    late = TimeoutError(f"it took more than {NOTIFY_LIMIT:g} seconds")
                    impl.failed(late)
                    raise late
            except Exception as error:
                at, said = impl.raised_at(error), f"{type(error).__name__}: {error}"
                who = {"plugin": impl.plugin, "hook": impl.hook, "at": at, "remedy": FIX_PLUGIN}
                log.error("an observer failed", error=said, **who)

    def _recipients(self, spec: Callable[..., Any], kwargs: dict[str, Any]) -> list[Implementation]:
        subject = getattr(kwargs.get("event") or kwargs.get("change"), "subject", None)
        return self.implementations(spec) if subject is None else self._matching(spec, subject)

    def _matching(self, spec: Callable[..., Any], subject: str) -> list[Implementation]:
        """Implementations whose `@for_subjects` match, looked up once for each subject."""
        impls = self._implementations[spec.__name__]
        if not impls:
            return impls
        key = spec.__name__, subject
        if (found := self._listeners.get(key)) is None:
            if len(self._listeners) >= self.max_subjects:
                self._listeners.clear()
            found = self._listeners[key] = [impl for impl in impls if impl.matches(subject)]
        return found


def _by_name(args: tuple[object, ...]) -> None:
    """Implementations get their arguments by name."""
    if args:
        raise TypeError("the arguments of a hook are passed by name")


def _is_spec(value: object) -> bool:
    return isfunction(value) and hasattr(value, f"{NAMESPACE}_spec")


def _mistakes(
    plugin: type[object], name: str, specs: Mapping[str, Callable[..., Any]]
) -> Iterable[BootError]:
    """Find implementations that would never be called, or not as intended."""
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
    """Return where a function is defined: `file:line`."""
    code = getattr(unwrap(function), "__code__", None)  # no source is read: starts are frequent
    if code is None:
        return getattr(function, "__qualname__", repr(function))
    return f"{code.co_filename}:{code.co_firstlineno}"


HOOKS = ServiceKey[HookBus]("hooks")
"""The bus as a service, for plugins that call hooks themselves."""
