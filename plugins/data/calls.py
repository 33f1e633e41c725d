"""What every call of RECORDS has in common: the schema may change, and a transaction is joined."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Final, TypeVar

from kernel.public import Apps, NotFound, PluginFailed, SchemaChanged, Transaction

T = TypeVar("T")
MAX_DEPTH: Final = 16
"""Calls with `tx` within each other: a hook writes, and the hooks of that write do."""

_DEPTH: Final = ContextVar[int]("depth", default=0)
"""Only finds hooks that lead to themselves; nothing else depends on it."""


class Calls:
    """Carries calls out."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def run(
        self, app_id: str, work: Callable[[], Awaitable[T]], tx: Transaction | None = None
    ) -> T:
        """Run the work of a call, once more where an install changed the table.

        The statement has done nothing then. It is not run again where the name belongs to another
        app by now: the caller's rights were checked for the previous one. With `tx`, what fails
        leaves the transaction as it was before.
        """
        if tx is not None:
            work = partial(_take_part, tx, work)
        app = await self._apps.app(app_id)
        try:
            return await work()
        except SchemaChanged:
            await self._apps.refresh()
            current = await self._apps.app(app_id)
            if current.key != app.key:
                raise NotFound(f"app '{app_id}' not found: it is another one's name now") from None
            return await work()


async def _take_part(tx: Transaction, work: Callable[[], Awaitable[T]]) -> T:
    with _count_depth():
        async with tx.savepoint():
            return await work()


@contextmanager
def _count_depth() -> Generator[None]:
    """Raise PluginFailed for very many calls within each other: a hook leads to itself."""
    depth = _DEPTH.get() + 1
    if depth > MAX_DEPTH:
        problem = f"more than {MAX_DEPTH} calls of RECORDS are within each other"
        raise PluginFailed(problem, "end the recursion: a hook that writes is called again")
    token = _DEPTH.set(depth)
    try:
        yield
    finally:
        _DEPTH.reset(token)
