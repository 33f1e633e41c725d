"""Work for each value of some rows, in a thread where it would delay other requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import methodcaller
from typing import Any, Final, ParamSpec, TypeVar, cast

from anyio import to_thread
from anyio.lowlevel import checkpoint

from plugins.data.columns.columns import Columns

P = ParamSpec("P")
T = TypeVar("T")
MAX_INLINE_VALUES: Final = 10_000
"""Coercing so many values takes up to 50 ms; more would delay other requests."""

_NO_NAMES: Final = frozenset[str]()


async def run_in_thread_if_large(
    columns: Columns,
    rows: Sequence[Mapping[str, Any]],
    work: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run work that takes a step for each value of `rows`; in a thread where they are many."""
    # To count is work too. A row has no more values than there are fields, or its first unknown
    # one refuses it; a list is refused where no field takes one.
    has_few_cells = len(rows) * len(columns.fields) <= MAX_INLINE_VALUES
    is_small = not columns.kinds_of_json_and_arrays and has_few_cells
    if is_small or _count_values(rows) <= MAX_INLINE_VALUES:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs))


class WorkOnRows:
    """Works on rows one after the other, and lets others go on when these had many values."""

    def __init__(self) -> None:
        self._values = 0
        """Values that were worked on since others could go on."""

    async def run(
        self,
        columns: Columns,
        row: Mapping[str, Any],
        work: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run work for the values of one row; see `run_in_thread_if_large`."""
        values = len(columns.fields)
        if columns.kinds_of_json_and_arrays:
            values = _count_values((row,))
        if values > MAX_INLINE_VALUES:
            return await to_thread.run_sync(lambda: work(*args, **kwargs))
        self._values += values
        if self._values > MAX_INLINE_VALUES:
            self._values = values
            await checkpoint()
        return work(*args, **kwargs)


def _count_values(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count as if each row had every field that any row names, as its arrays have it."""
    count = len(_NO_NAMES.union(*rows)) * len(rows)
    values = chain.from_iterable(map(methodcaller("values"), rows))
    if list in map(type, values):
        for row in rows:
            for value in row.values():
                if type(value) is list:
                    count += len(cast("list[Any]", value))
    return count
