"""The typed token by which one subsystem asks for another."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class ServiceKey(Generic[T]):
    """The name of a service, carrying the Protocol that its provider satisfies."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"ServiceKey({self.name!r})"
