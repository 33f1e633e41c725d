"""Typed calls of hooks over pluggy: sync or async as the spec says, in dependency order."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from inspect import isfunction
from itertools import chain
from math import inf
from time import monotonic, perf_counter, time
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import pluggy
import structlog

from kernel import errors
from kernel.contracts.base import ServiceKey
from kernel.contracts.hookspecs import NAMESPACE
from kernel.errors import FIX_PLUGIN
from kernel.hooks.faults import is_within, steps_of
from kernel.hooks.limits import limited
from kernel.hooks.mistakes import mistakes, place
from kernel.toolkit.batcher import Retry

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Spec = Callable[P, Awaitable[R]]
"""The spec of an async hook."""
RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What fails a call, unless it comes from a signal."""
REMEDIES = {"lifespan": "mark it with @asynccontextmanager"}
"""Remedies for results of the wrong type."""
TOLERATED = 5
"""Failures in a row after which an observer is skipped for a while."""
_RETRY = Retry(first=10.0, longest=300.0)

log = structlog.get_logger("caudex.hooks")


class Implementation:
    """One plugin's implementation of one hook, with the statistics of its calls."""

    __slots__ = ("_retry_at", "arguments", "calls", "durations", "errors", "failed_at", "fixed",
                 "function", "hook", "in_a_row", "last_error", "limit", "observe", "old", "plugin",
                 "refusals", "returns", "seconds", "subjects")  # fmt: skip

    def __init__(
        self, plugin: str, function: Callable[..., Any], arguments: Iterable[str], hook: str = ""
    ) -> None:
        self.plugin = plugin
        self.hook = hook or function.__name__
        self.function = function
        self.arguments = tuple(arguments)
        method = getattr(function, "caudex_subjects_from", "")
        owner = getattr(function, "__self__", None)
        self.subjects: Callable[[], Iterable[str]] | None = getattr(owner, method, None)
        """Returns the patterns at the moment, where `@subjects_from` names a method."""
        self.fixed: tuple[str, ...] = getattr(function, "caudex_subjects", ("*",))
        self.old: bool = getattr(function, "caudex_old", False)
        """Whether it asks for the record before a change."""
        self.limit = inf
        """Seconds that an async call may take (`[server] hook_timeout`)."""
        self.returns: Any = object
        """The type of each result that is not None."""
        self.calls = 0
        self.seconds = 0.0
        self.refusals = 0
        """Calls that raised a KernelError below 500, such as 401 or 403."""
        self.errors = 0
        self.in_a_row = 0
        """Errors since the last call without one."""
        self.last_error = ""
        """Class and place; the message, which may hold values, is only in the log."""
        self.failed_at = 0.0
        """Time of the last error, in seconds since the epoch."""
        self.durations: deque[float] = deque(maxlen=256)
        self.observe: Callable[[float], None] | None = None
        """Called with the seconds of each call, where one measures more than this does."""
        self._retry_at = 0.0

    @property
    def patterns(self) -> tuple[str, ...]:
        """The subjects that it is limited to."""
        if self.subjects is None:
            return self.fixed
        try:
            return tuple(self.subjects())
        except Exception as error:
            self.failed(error)
            if self.hook != "event_committed":
                raise
            self.report(error)  # of an observer: it never fails the request
            return ()

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
            return self._checked(self.function(*map(kwargs.__getitem__, self.arguments)))
        except RAISED as error:
            if errors.ends_process(error):
                raise
            failed = self.failed(error)
            try:
                if failed is error:
                    raise
                raise failed from error
            finally:
                del failed  # see `errors.forget_frames`
        finally:
            self.took(began)

    async def call(self, kwargs: dict[str, Any]) -> Any:
        """Call an async implementation.

        Raises HookTimeout after `limit` seconds, and HookFailed where a statement of it fails.
        """
        began = perf_counter()
        try:
            work = self.function(*map(kwargs.__getitem__, self.arguments))
            result = self._checked(await limited(work, self.limit))
        except RAISED as error:
            if errors.ends_process(error):
                raise
            failed = self.failed(error)
            try:
                if failed is error:
                    raise
                raise failed from error.__cause__
            finally:
                del failed  # see `errors.forget_frames`
        except asyncio.CancelledError as error:
            if not errors.is_cancelled():
                raise self.failed(error) from error
            if not hasattr(error, "waited_in"):  # else in a hook that this one led to
                error.waited_in = self, self.raised_at(error)  # type: ignore[attr-defined]
            raise
        else:
            self.in_a_row = 0
            return result
        finally:
            self.took(began)

    def failed(self, error: BaseException) -> Exception:
        """Count a failure and return the error to raise, with a note that names the plugin."""
        error = self._translated(error)
        if isinstance(error, errors.KernelError) and error.status < 500:
            self.refusals += 1
            return error
        failed, at = self._responsible(error)
        self.errors += 1
        self.in_a_row += 1
        self.failed_at = time()
        self.last_error = f"{type(error).__name__} at {at}"
        if not hasattr(error, "raised_by"):  # else a hook that this one led to raised it
            error.raised_by = failed.plugin  # type: ignore[attr-defined]
            if isinstance(error, errors.HookTimeout):
                log.error("a hook took too long", seconds=self.limit, at=at, plugin=failed.plugin,
                          hook=failed.hook, remedy=error.remedy)  # fmt: skip
        error.add_note(f"plugin {failed.plugin}, hook {failed.hook}, {at}")
        return error

    def _translated(self, error: BaseException) -> Exception:
        """Return the error that says what happened: a 500 for what is no refusal of the caller."""
        refusable = isinstance(error, errors.BadRequest | errors.SchemaChanged)
        if refusable and errors.is_of_statement(error):
            failed = errors.HookFailed(f"a statement failed: {error}")
            return failed.with_traceback(error.__traceback__)
        if isinstance(error, Exception):
            return error
        failed = errors.HookFailed(f"it raised {type(error).__name__}", errors.remedy_of(error))
        return failed.with_traceback(error.__traceback__)

    def _responsible(self, error: Exception) -> tuple[Implementation, str]:
        """Return the implementation that failed, and the place: of one that took too long, that
        in which it waited, which may be one that this one led to."""
        waited_in = getattr(error.__context__, "waited_in", None)
        if isinstance(error, errors.HookTimeout) and waited_in is not None:
            return waited_in
        return self, self.raised_at(error)

    def named(self, remedy: str = FIX_PLUGIN) -> dict[str, Any]:
        """Return the fields of the log that name the plugin and the remedy."""
        return {"plugin": self.plugin, "hook": self.hook, "remedy": remedy}

    def report(self, error: Exception) -> None:
        """Log the error of an observer."""
        problem, named = f"{type(error).__name__}: {error}", self.named(errors.remedy_of(error))
        log.error("an observer failed", error=problem, at=self.raised_at(error), exc_info=error,
                  **named)  # fmt: skip

    @property
    def is_open(self) -> bool:
        """Whether the breaker of an observer is open: it is skipped (see `attempt`)."""
        # Only `attempt`, which calls observers, sets the time.
        return self.in_a_row >= TOLERATED and self._retry_at > 0.0

    async def attempt(self, kwargs: dict[str, Any]) -> Any:
        """Call an observer, or skip it while its breaker is open.

        After five errors in a row it is called again after 10 seconds, then after growing pauses.
        """
        was_open = self.is_open
        if was_open and monotonic() < self._retry_at:
            return None
        self._retry_at = inf  # one call at a time tries an open breaker
        try:
            result = await self.call(kwargs)
        finally:
            self._retry_at = monotonic() + _RETRY.pause(max(1, self.in_a_row - TOLERATED + 1))
            if self.is_open is not was_open:
                said = "an observer works again" if was_open else "an observer is skipped"
                log.warning(said, errors=self.in_a_row, last=self.last_error, **self.named())
        return result

    def raised_at(self, error: BaseException) -> str:
        """Return the source location of an error within the plugin, or of the implementation."""
        if isinstance(error, errors.HookTimeout):
            error = error.__context__ or error  # where it waited
        places = [step.at for step in steps_of(error) if is_within(step.module, self._home)]
        return places[-1] if places else place(self.function)

    @property
    def _home(self) -> str:
        """The module of the plugin, or its package."""
        owner = getattr(self.function, "__self__", self.function)
        module = sys.modules.get(type(owner).__module__)
        return (module and (module.__package__ or module.__name__)) or ""

    def took(self, began: float) -> None:
        """Count a call that began at that time of `perf_counter`."""
        took = perf_counter() - began
        self.calls += 1
        self.seconds += took
        self.durations.append(took)
        if self.observe is not None:
            self.observe(took)

    def _checked(self, result: Any) -> Any:
        if result is None or isinstance(result, self.returns):
            return result
        given, wanted = type(result).__name__, self.returns.__name__
        remedy = REMEDIES.get(self.hook, f"return {wanted} or None")
        raise errors.HookFailed(f"{self.hook} returned {given}, not {wanted} or None", remedy)


class _Plugins(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Read the mark of a method. The original looks for it along each class of the plugin, for
        every attribute, which took a quarter of the time of loading."""
        return getattr(getattr(type(plugin), name, None), f"{NAMESPACE}_impl", None)


class HookBus:
    """The hooks of one application.

    `Spec[P, R]` is the spec of an async hook with the arguments P and the answer R.
    """

    max_subjects = 10_000
    """Subjects whose listeners are cached: apps and their entities come and go."""

    def __init__(self, specs: ModuleType, limit: float = inf) -> None:
        """`limit` is the time limit of each async call, in seconds."""
        self._limit = limit
        self._returns = dict[str, type[Any]]()
        self._listeners: dict[tuple[str, str], list[Implementation]] = {}
        self._pm = _Plugins(NAMESPACE)
        self._specs: dict[str, Callable[..., Any]] = {}
        self._implementations: dict[str, list[Implementation]] = {}
        self.add_specs(specs, "kernel")

    def add_specs(self, specs: ModuleType, owner: str) -> None:
        """Add the hooks that a plugin declares in its `hookspecs.py`."""
        marked = f"{NAMESPACE}_spec"
        names = {n for n, each in vars(specs).items() if isfunction(each) and hasattr(each, marked)}
        if not names:
            remedy = "mark it with @hookspec"
            raise errors.BootError(f"plugin {owner}", "its hookspecs hold none", remedy)
        if clash := names & self._specs.keys():
            problem = f"declares the hook {min(clash)!r}, which exists"
            raise errors.BootError(f"plugin {owner}", problem)
        self._pm.add_hookspecs(specs)
        self._specs.update({name: getattr(specs, name) for name in names})
        self._returns.update(getattr(specs, "RETURNS", {}))

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin's implementations. Raises BootErrors for those that cannot be called."""
        errors.raise_all(list(mistakes(type(plugin), name, self._specs)))
        self._pm.register(plugin, name=name)

    def arrange(self, order: Sequence[str]) -> None:
        """Order the implementations by `order`, and leave out those of other plugins."""
        self._listeners.clear()
        for name in self._specs:
            caller: pluggy.HookCaller = getattr(self._pm.hook, name)
            made = {i.plugin_name: (i.function, i.argnames) for i in caller.get_hookimpls()}
            found = [Implementation(one, *made[one], name) for one in order if one in made]
            self._implementations[name] = found
            for each in found:
                each.limit, each.returns = self._limit, self._returns.get(name, object)

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

    def all_implementations(self) -> Iterator[Implementation]:
        """Return every implementation of every hook."""
        return chain.from_iterable(self._implementations.values())

    def collect(
        self, spec: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """Call a sync hook and return (plugin, result) pairs, without the Nones."""
        results = [(i.plugin, i.invoke(kwargs)) for i in self._called(spec, args)]
        return [(plugin, result) for plugin, result in results if result is not None]

    async def first(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the first answer that is not None."""
        for impl in self._called(spec, args):
            if (answer := await impl.call(kwargs)) is not None:
                return answer
        return None

    async def gather(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Return every answer that is not None; an exception is raised."""
        return [a for i in self._called(spec, args) if (a := await i.call(kwargs)) is not None]

    async def emit(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the matching implementations in order; an exception stops and is raised."""
        for impl in self._recipients(spec, args, kwargs):
            await impl.call(kwargs)

    async def notify(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the matching implementations; their errors are logged, never raised."""
        for impl in self._recipients(spec, args, kwargs):
            try:
                await impl.attempt(kwargs)
            except errors.HookTimeout:
                pass  # logged already
            except Exception as error:
                impl.report(error)

    def _called(self, spec: Callable[..., Any], args: tuple[object, ...]) -> list[Implementation]:
        """Return the implementations of a hook, which get their arguments by name."""
        if args:
            raise TypeError("the arguments of a hook are passed by name")
        return self._implementations[spec.__name__]

    def _recipients(
        self, spec: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> list[Implementation]:
        subject = getattr(kwargs.get("event") or kwargs.get("change"), "subject", None)
        impls = self._called(spec, args)
        return impls if subject is None else self.listeners(spec, subject)

    def listeners(self, spec: Callable[..., Any], subject: str) -> list[Implementation]:
        """Return the implementations that match `subject` (`crm.contacts`), looked up once."""
        if not (impls := self._implementations[spec.__name__]):
            return impls
        key = spec.__name__, subject
        if (found := self._listeners.get(key)) is None:
            found = [impl for impl in impls if impl.matches(subject)]
            if any(impl.subjects is not None for impl in impls):
                return found  # it can be another one next time
            if len(self._listeners) >= self.max_subjects:
                self._listeners.clear()
            self._listeners[key] = found
        return found


HOOKS = ServiceKey[HookBus]("hooks")
"""The bus as a service, for plugins that call hooks themselves."""
