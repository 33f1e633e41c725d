"""Live queries: the reply of a query, and what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from kernel.contracts.base import ServiceKey
from kernel.contracts.records import WithSnapshot
from kernel.contracts.statements import Query
from kernel.contracts.trail.watches import Watched

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["LIVE_QUERIES", "LiveQueries", "LiveQuery"]


class LiveQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query whose caller wants to see its changes.

    `read` returns the ordinary reply, with the value of an expression in the same statement. With
    `repeats` changes of single records do not say how the reply changes, so it is read again; with
    `reaches_links` changes of other entities of the app may change it too.
    """

    watched: Watched
    read: Callable[[Query], Awaitable[WithSnapshot]]
    repeats: bool = False
    reaches_links: bool = False
    shape: Hashable = None
    """Equal for queries with equal replies, of callers whose watches have equal keys.

    A watch is of one entity. Where the reply depends on more of its caller, this names the caller.
    """


class LiveQueries(Protocol):
    """Answers live queries with streams of events."""

    async def answer(self, request: Any, query: LiveQuery) -> Response:
        """Begin the stream; `request` is the one that a handler gets.

        Raises what the query would, and Unavailable for too many streams.
        """
        ...


LIVE_QUERIES = ServiceKey[LiveQueries]("live_queries")
