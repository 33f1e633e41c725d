"""The functions that a worker declares."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

Handler = Callable[..., Any]


class Handlers:
    """The functions that a worker declares."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.jobs: dict[str, Handler] = {}
        """By the type of their jobs; the one without a type takes the rest."""
        self.on_start: list[Handler] = []
        self.on_shutdown: list[Handler] = []
        self._params: dict[tuple[str, str], dict[str, Any]] = {}
        """JSON Schemas by kind and name."""
        self._signatures: dict[int, tuple[int, bool]] = {}

    def make_registrar(
        self, kind: str, name: str | None, params: dict[str, Any] | None
    ) -> Callable[[Handler], Handler]:
        """Return a decorator; without a name the handler has that of its function."""

        def register(handler: Handler) -> Handler:
            self.add(kind, handler.__name__ if name is None else name, handler, params)
            return handler

        return register

    def add(
        self, kind: str, name: str, handler: Handler, params: dict[str, Any] | None = None
    ) -> None:
        """Add a handler of calls ("rpc") or of jobs ("job")."""
        registry = self.methods if kind == "rpc" else self.jobs
        registry[name] = handler
        self._params.pop((kind, name), None)
        if params is not None:
            json.dumps(params)  # here, where the traceback names the declaration
            self._params[kind, name] = params

    def describe(self) -> list[dict[str, Any]]:
        """Return what the server shows of the handlers: the first line of each docstring."""
        registries = (("rpc", self.methods), ("job", self.jobs))
        return [
            {
                "kind": kind,
                "name": name,
                "text": (inspect.getdoc(registry[name]) or "").partition("\n")[0][:500],
                "params": self._params.get((kind, name)),
            }
            for kind, registry in registries
            for name in sorted(registry)
        ]

    def inspect(self, handler: Handler) -> tuple[int, bool]:
        """Return how many arguments a handler takes, and whether it is an `async def`.

        That is found out once, because it takes longer than most calls.
        """
        signature = self._signatures.get(id(handler))
        if signature is None:
            signature = (_count_arguments(handler), inspect.iscoroutinefunction(handler))
            self._signatures[id(handler)] = signature
        return signature


def _count_arguments(handler: Handler) -> int:
    """Return how many positional arguments a handler takes; two where that is unknown."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in parameters)
