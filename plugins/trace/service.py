"""Remembers calls of workers, and puts together what requests caused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from kernel.public import (
    BadRequest,
    Batcher,
    BatchLimits,
    EndedCall,
    HookBus,
    RateLimiter,
    RequestTrace,
    Statements,
    Unavailable,
)

from . import hookspecs, store
from .config import TraceConfig
from .models import MAX_DEPTH, MAX_REQUESTS

MAX_WAITING: Final = 10_000
"""Calls that wait for the database."""

log = structlog.get_logger("caudex.trace")

RequestTree = Mapping[str, Sequence[RequestTrace]]
"""What is known of requests, by their ids: the first is the one that was asked for."""


class TraceService:
    """Provides TRACES."""

    def __init__(self, config: TraceConfig, statements: Statements, bus: HookBus) -> None:
        self._config = config
        self._statements = statements
        self._bus = bus
        self._rate = RateLimiter(config.calls_per_second, burst=10)
        self._batcher = Batcher[EndedCall, None](
            self._insert, BatchLimits(waiting=MAX_WAITING), delay=0.2
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TraceService]:
        """Take calls."""
        async with self._batcher.running(drain=1):
            yield self

    def note_call(self, call: EndedCall) -> None:
        """See `Traces.note_call`."""
        is_remembered = self._config.keep_calls > 0 and self._config.calls_per_second > 0
        if not is_remembered or not self._rate.take(call.app_id):
            return
        try:
            self._batcher.add(call)
        except Unavailable:  # the database is away or slow
            log.debug("a call is left out of the trace", app_id=call.app_id)

    async def find_children(self, request_id: str) -> Sequence[str]:
        """See `Traces.find_children`."""
        tree, is_whole = await self._collect(request_id)
        if not is_whole:
            raise BadRequest(
                f"children: the request caused more than {MAX_REQUESTS - 1} others,"
                f" or they go deeper than {MAX_DEPTH} levels: name its jobs one by one"
            )
        return [child_id for child_id in tree if child_id != request_id]

    async def find_tree(self, request_id: str) -> RequestTree:
        """Return what is known of a request, and of what its jobs did, within the limits."""
        tree, _ = await self._collect(request_id)
        return tree

    async def _collect(self, request_id: str) -> tuple[RequestTree, bool]:
        """Ask level by level; also return whether that is all, within the limits."""
        tree: dict[str, Sequence[RequestTrace]] = {}
        level = [request_id]
        for _ in range(MAX_DEPTH + 1):
            traces = await self._ask_plugins(level)
            tree |= traces
            children = [child_id for child_id in _children_of(traces) if child_id not in tree]
            level = children[: MAX_REQUESTS - len(tree)]
            if len(level) < len(children):
                tree |= await self._ask_plugins(level)
                return tree, False
            if not level:
                return tree, True
        return tree, False

    async def _ask_plugins(self, request_ids: Sequence[str]) -> RequestTree:
        traces: dict[str, list[RequestTrace]] = {request_id: [] for request_id in request_ids}
        answers = await self._bus.gather(hookspecs.trace_requests, request_ids=request_ids)
        for answer in answers:
            for trace in answer:
                if trace.request_id in traces:
                    traces[trace.request_id].append(trace)
        return traces

    async def sweep(self) -> None:
        """Delete the calls that are too many."""
        while await store.sweep_calls(self._statements, self._config.keep_calls) == store.PORTION:
            pass

    async def _insert(self, calls: Sequence[EndedCall]) -> None:
        await store.insert_calls(self._statements, calls)


def _children_of(traces: RequestTree) -> Iterator[str]:
    """Yield the ids of the jobs of requests: under these their runs are recorded."""
    for parts in traces.values():
        for part in parts:
            for job in part.jobs:
                yield job.id
