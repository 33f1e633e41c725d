"""The hook of this plugin. An implementation is marked `@hookimpl(optionalhook=True)`, so that this
plugin can be off."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import RequestTrace, hookspec


@hookspec
async def trace_requests(request_ids: Sequence[str]) -> Sequence[RequestTrace]:
    """Name what requests caused, as far as the plugin knows it. Gather.

    At most 1000 ids. Use an index: a trail and its like have no end.
    """
    raise NotImplementedError
