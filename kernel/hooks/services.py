"""Services: one provider for each key, chosen by the operator where there are several."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, TypeVar

import structlog

from kernel.contracts.base import ServiceKey, Services
from kernel.errors import BootError, nearest, starting
from kernel.errors.source_lines import source_line

T = TypeVar("T")
Enter = Callable[[AsyncExitStack, AbstractAsyncContextManager[Any]], Awaitable[Any]]
Factory = Callable[[Services], Any]
log = structlog.get_logger("caudex.loader")
KERNEL = "kernel"
"""Name of the kernel as a provider: used unless another is chosen or preferred."""


class ServiceContainer:
    """Binds each key to one factory at load, and builds what is bound at start.

    See also `kernel.contracts.base.Services`.
    """

    def __init__(
        self, chosen: Mapping[str, str] | None = None, preferred: Mapping[str, str] | None = None
    ) -> None:
        """`chosen` maps keys to providers, `preferred` to those that replace the kernel where none
        is chosen."""
        self._chosen = dict(chosen or {})
        self._preferred = dict(preferred or {})
        self._offers: dict[str, dict[str, Factory]] = {}
        self._wrappers: dict[str, dict[str, Callable[..., Any]]] = {}
        self._keys: dict[tuple[str, str], ServiceKey[Any]] = {}
        """The key by which a plugin provides or wraps a service, by the names of both."""
        self._built: dict[str, Any] = {}

    def wrap(self, key: ServiceKey[T], factory: Callable[..., Any], *, by: str) -> None:
        """Let plugin `by` wrap what provides `key`."""
        self._wrappers.setdefault(key.name, {})[by] = factory
        self._keys[key.name, by] = key

    def chain(self, name: str, before: str = "") -> list[str]:
        """Return the provider of a key and the plugins that wrap it, innermost first; with `before`
        only those inside the wrapper of that plugin."""
        wrappers = sorted(self._wrappers.get(name, ()))
        if before in wrappers:
            wrappers = wrappers[: wrappers.index(before)]
        provider = self.provider(name)
        return wrappers if provider is None else [provider, *wrappers]

    def place_of(self, plugin: str) -> str:
        """Return where the first factory of a plugin is defined, or ''."""
        for by_plugin in (*self._offers.values(), *self._wrappers.values()):
            if plugin in by_plugin:
                return source_line(by_plugin[plugin])
        return ""

    def wrapped_by(self, plugin: str) -> list[str]:
        """See `Services.wrapped_by`."""
        return [name for name, wrappers in self._wrappers.items() if plugin in wrappers]

    def provide(self, key: ServiceKey[T], factory: Factory, *, by: str) -> None:
        """Add `factory` as plugin `by`'s implementation of `key`. Raises BootError for two."""
        offers = self._offers.setdefault(key.name, {})
        if by in offers:
            where = f"plugin {by}, {source_line(factory)}"
            raise BootError(where, f"provides the service {key.name!r} twice", "remove one")
        offers[by] = factory
        self._keys[key.name, by] = key

    def get(self, key: ServiceKey[T]) -> T:
        """See `Services.get`."""
        try:
            return self._built[key.name]
        except KeyError:
            raise LookupError(
                f"the service {key.name!r} is not available (yet): services are built at start-up, "
                "so ask for one in a handler or a factory, and name it in `requires`"
            ) from None

    def find(self, key: ServiceKey[T]) -> T | None:
        """See `Services.find`."""
        return self._built.get(key.name)

    def provider(self, name: str) -> str | None:
        """See `Services.provider`."""
        offers = self._offers.get(name, {})
        choice = self._chosen.get(name)
        if choice is not None:
            if choice not in offers:
                remedy = nearest(choice, offers) or f"no plugin that is on provides {name!r}"
                raise BootError(f"[services] {name}", f"{choice!r} does not provide it", remedy)
            return choice
        if KERNEL in offers:
            preferred = self._preferred.get(name)
            return preferred if preferred in offers else KERNEL
        if len(offers) > 1:
            raise _several_providers(name, offers)
        return next(iter(offers), None)

    def check(self) -> list[BootError]:
        """Return an error for every choice that cannot be made."""
        problem = "no plugin provides such a service"
        errors = [
            BootError(f"[services] {name}", problem, nearest(name, self._offers))
            for name in self._chosen.keys() - self._offers.keys()
        ]
        for name in list(self._offers):
            try:
                self.provider(name)
            except BootError as error:
                errors.append(error)
                self._offers[name] = {}  # so that the rest can be examined
                self._chosen.pop(name, None)
        return errors

    def offered_by(self, plugin: str) -> list[str]:
        """See `Services.offered_by`."""
        return [name for name, offers in self._offers.items() if plugin in offers]

    async def start(self, stack: AsyncExitStack, plugin: str, enter: Enter | None = None) -> None:
        """Build the chosen services of a plugin, and enter context managers; the kernel's first.

        `enter` enters a context manager on a stack, by default as `AsyncExitStack` does.

        Where one service fails, the earlier ones are closed again. Plugins that are closing still
        find the services of those that started before them.
        """
        enter = enter or AsyncExitStack.enter_async_context
        if plugin == KERNEL:
            stack.callback(self._built.clear)
        async with AsyncExitStack() as contexts:
            contexts.callback(self.forget, plugin)
            enter_context = partial(enter, contexts)
            for name in self.offered_by(plugin):
                if self.provider(name) != plugin or name in self._built:
                    continue
                with starting(f"plugin {plugin}, service {name!r}"):
                    factory = self._offers[name][plugin]
                    service = await _build(factory, enter_context, self)
                    self._check(name, plugin, factory, service)
                    self._built[name] = service
            for name in self.wrapped_by(plugin):
                with starting(f"plugin {plugin}, over service {name!r}"):
                    factory = self._wrappers[name][plugin]
                    service = await _build(factory, enter_context, self, self._built[name])
                    self._check(name, plugin, factory, service)
                    self._built[name] = service
            await stack.enter_async_context(contexts.pop_all())

    def _check(self, name: str, plugin: str, factory: Callable[..., Any], service: object) -> None:
        """Raise BootError for what is no service; name what it lacks, by which others would fail,
        far from here."""
        fault = find_fault_of_service(service)
        if fault is not None:
            problem, remedy = fault
            where = f"plugin {plugin}, {source_line(factory)}"
            raise BootError(where, f"service {name!r}: {problem}", remedy)
        key = self._keys[name, plugin]
        missing = [member for member in key.members if not hasattr(service, member)]
        if missing:
            log.warning("a service lacks what its key declares", plugin=plugin, service=name,
                        at=source_line(factory), missing=missing,
                        remedy=f"write what {key.kind.__name__} declares")  # fmt: skip

    def forget(self, plugin: str) -> None:
        """Remove a plugin's services."""
        for name in self.offered_by(plugin):
            if self.provider(name) == plugin:
                self._built.pop(name, None)

    def build_early(self, key: ServiceKey[T]) -> T | None:
        """See `Services.build_early`."""
        provider = self.provider(key.name)
        if provider is None:
            return None
        if key.name not in self._built:
            self._built[key.name] = self._offers[key.name][provider](self)
        return self.get(key)

    def put(self, key: ServiceKey[T], service: T) -> None:
        """Add a service that is already built: the kernel's own, or a fake in a test."""
        self._built[key.name] = service


def _several_providers(name: str, offers: Mapping[str, Factory]) -> BootError:
    """Return the error where the operator has to choose."""
    plugins = sorted(offers)
    places = [f"{plugin} ({source_line(offers[plugin])})" for plugin in plugins]
    problem = f"{len(offers)} plugins provide it: {', '.join(places)}"
    choices = " or ".join(f"{name} = {plugin!r}" for plugin in plugins)
    return BootError(f"[services] {name}", problem, f"set {choices}")


async def _build(
    factory: Callable[..., Any], enter: Callable[[Any], Awaitable[Any]], *arguments: object
) -> object:
    service = factory(*arguments)
    if isinstance(service, AbstractAsyncContextManager):
        return await enter(service)
    return service


def find_fault_of_service(service: object) -> tuple[str, str] | None:
    """Return why what a factory returned is no service, and the remedy, or None."""
    if inspect.iscoroutine(service):
        service.close()
        return "its factory returned a coroutine", "write a plain def, or a context manager"
    if inspect.isasyncgen(service):
        return "its factory returned a generator", "mark it with @asynccontextmanager"
    if service is None:
        return "its factory returned nothing", "return the service"
    return None
