"""How plugins provide services, and find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeGuard, TypeVar, get_args

import msgspec

__all__ = ["Provider", "ServiceKey", "Services", "provide", "supports"]

T = TypeVar("T")


class ServiceKey(Generic[T]):
    """The name of a service, carrying the Protocol that its provider satisfies."""

    __slots__ = ("__orig_class__", "name")

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def kind(self) -> Any:
        """The type that the key was made with, such as a Protocol; `object` without one."""
        declared = getattr(self, "__orig_class__", None)
        return object if declared is None else get_args(declared)[0]

    @property
    def members(self) -> Sequence[str]:
        """The members that the Protocol declares; none for another type."""
        parts: tuple[type[Any], ...] = getattr(self.kind, "__mro__", ())
        names = [name for part in parts if _is_protocol(part) for name in vars(part)]
        return [name for name in names if not name.startswith("_")]

    def __repr__(self) -> str:
        return f"ServiceKey({self.name!r})"


def _is_protocol(kind: type[Any]) -> bool:
    """Whether a type is a Protocol with members of its own."""
    return getattr(kind, "_is_protocol", False) and kind not in (Protocol, Generic)


class Services(Protocol):
    """Finds services by their keys, for factories, hooks and handlers."""

    def get(self, key: ServiceKey[T]) -> T:
        """Return a service. Raises LookupError before it is built: ask in the handler."""
        ...

    def find(self, key: ServiceKey[T]) -> T | None:
        """Return a service, or None where it is not available."""
        ...

    def provider(self, name: str) -> str | None:
        """Return the plugin that provides a key, or None.

        A plugin replaces the kernel where it is chosen or preferred. Raises BootError where the
        operator has to choose, or chose a plugin that does not provide the key.
        """
        ...

    def offered_by(self, plugin: str) -> list[str]:
        """Return the names of the keys that a plugin provides, chosen or not."""
        ...

    def wrapped_by(self, plugin: str) -> list[str]:
        """Return the names of the keys that a plugin wraps."""
        ...

    def build_early(self, key: ServiceKey[T]) -> T | None:
        """Build one service before the start, if it is provided; it must need no other."""
        ...


def supports(service: object, part: type[T]) -> TypeGuard[T]:
    """Whether a service has the methods of an optional part of its contract, as `FactorDemands`.

    A wrapper may pass them on by `__getattr__`, which `isinstance` ignores from Python 3.12 on.
    """
    return all(hasattr(service, name) for name in vars(part) if not name.startswith("_"))


class Provider(msgspec.Struct, frozen=True):
    """A factory for a service key; made by `provide`, which checks the types."""

    key: ServiceKey[Any]
    factory: Callable[..., Any]
    over: bool = False


def provide(
    key: ServiceKey[T],
    factory: Callable[[Services], T]
    | Callable[[Services], AbstractAsyncContextManager[T]]
    | Callable[[Services, T], T]
    | Callable[[Services, T], AbstractAsyncContextManager[T]],
    *,
    over: bool = False,
) -> Provider:
    """Provide `factory` as an implementation of `key`; an async context manager is kept open.

    With `over` the factory wraps the engine that the operator has chosen: it gets the services and
    that engine, and returns the replacement. Several plugins may wrap a key, in the order of their
    names; each one gets what the one before it returned.
    """
    return Provider(key, factory, over)
