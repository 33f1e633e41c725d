"""One answer for each service key: the provider that the operator chose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar, cast

from kernel.contracts.services import ServiceKey
from kernel.errors import BootError, BootErrors, nearest, starting

T = TypeVar("T")
Factory = Callable[["Services"], Any]
KERNEL = "kernel"
"""Who offers what the kernel itself provides: in force unless another is chosen or preferred."""


class Services:
    """Binds each key to one factory at load, and builds what is bound at start."""

    def __init__(
        self,
        chosen: Mapping[str, str] | None = None,
        dress: Callable[[str, Any], Any] = lambda key, service: service,
        preferred: Mapping[str, str] | None = None,
    ) -> None:
        """`chosen` are providers by key, `preferred` those that go before the kernel where nobody
        is chosen; `dress` may put something around what is built."""
        self._chosen = dict(chosen or {})
        self._preferred = dict(preferred or {})
        self._dress = dress
        self._offers: dict[str, dict[str, Factory]] = {}
        self._built: dict[str, Any] = {}

    def provide(self, key: ServiceKey[T], factory: Factory, *, by: str) -> None:
        """Take `factory` as plugin `by`'s implementation of `key`."""
        offers = self._offers.setdefault(key.name, {})
        if by in offers:
            raise BootError(f"plugin {by}", f"offers the service {key.name!r} twice")
        offers[by] = factory

    def get(self, key: ServiceKey[T]) -> T:
        """Return a service. Raises LookupError before it is built: ask in the handler."""
        try:
            return self._built[key.name]
        except KeyError:
            raise LookupError(
                f"the service {key.name!r} is not there (yet): services are built at start-up, "
                "so ask for one in a handler or a factory, and name it in `requires`"
            ) from None

    def find(self, key: ServiceKey[T]) -> T | None:
        """Return a service that the caller can do without, or None."""
        return self._built.get(key.name)

    def provider(self, name: str) -> str | None:
        """Name the plugin whose offer is used for a key, or None when nobody offers it.

        What the kernel offers needs no choice: a plugin takes its place when it is chosen, or
        preferred.

        Raises BootError when the operator has to choose, or chose what is not there.
        """
        offers = self._offers.get(name, {})
        if (choice := self._chosen.get(name)) is not None:
            if choice not in offers:
                remedy = nearest(choice, offers) or f"no plugin that is on provides {name!r}"
                raise BootError(f"[services] {name}", f"{choice!r} does not provide it", remedy)
            return choice
        if KERNEL in offers:
            preferred = self._preferred.get(name)
            return preferred if preferred in offers else KERNEL
        if len(offers) > 1:
            names = " or ".join(f"{name} = {by!r}" for by in sorted(offers))
            raise BootError(
                f"[services] {name}", f"{len(offers)} plugins provide it", f"set {names}"
            )
        return next(iter(offers), None)

    def check(self) -> None:
        """Raise BootErrors for every choice that cannot be made."""
        errors: list[BootError] = []
        for name in self._chosen.keys() - self._offers.keys():
            remedy = nearest(name, self._offers)
            errors.append(BootError(f"[services] {name}", "nobody provides such a service", remedy))
        for name in self._offers:
            try:
                self.provider(name)
            except BootError as error:
                errors.append(error)
        if errors:
            raise BootErrors(errors)

    def offered_by(self, plugin: str) -> list[str]:
        """Keys that a plugin offers, chosen or not."""
        return [name for name, offers in self._offers.items() if plugin in offers]

    async def start(self, stack: AsyncExitStack, plugins: Iterable[str]) -> None:
        """Build the chosen services plugin by plugin; what is a context manager is entered.

        What a plugin has built is closed again where it fails at the next.
        """
        for plugin in plugins:
            async with AsyncExitStack() as own:
                own.callback(self.forget, plugin)
                for name in self.offered_by(plugin):
                    if self.provider(name) != plugin or name in self._built:
                        continue
                    with starting(f"plugin {plugin}, service {name!r}"):
                        built = await _build(self._offers[name][plugin], self, own)
                        self._built[name] = self._dress(name, built)
                await stack.enter_async_context(own.pop_all())
        stack.callback(self._built.clear)

    def forget(self, plugin: str) -> None:
        """Give out a plugin's services no more."""
        for name in self.offered_by(plugin):
            if self.provider(name) == plugin:
                self._built.pop(name, None)

    def build_early(self, key: ServiceKey[T]) -> T | None:
        """Build one service before the start, if it is offered; it must need no other."""
        provider = self.provider(key.name)
        if provider is None:
            return None
        if key.name not in self._built:
            self._built[key.name] = self._offers[key.name][provider](self)
        return self.get(key)

    def put(self, key: ServiceKey[T], service: T) -> None:
        """Install a service that is already built: the kernel's own, or a fake in a test."""
        self._built[key.name] = service


async def _build(factory: Factory, services: Services, stack: AsyncExitStack) -> object:
    built = factory(services)
    if isinstance(built, AbstractAsyncContextManager):
        entered = cast("AbstractAsyncContextManager[object]", built)
        return await stack.enter_async_context(entered)
    return built
