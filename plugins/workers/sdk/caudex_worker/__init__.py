"""The SDK of workers in Python: the standard library only, Python 3.9 or newer.

    from caudex_worker import Worker

    worker = Worker()

    @worker.rpc
    def greet(params, ctx):
        return {"hello": ctx.username}

    @worker.job("send_report")
    async def send_report(payload, ctx):
        contacts = await ctx.collection("contacts").find({"vip": True})
        ctx.progress(0.5)
        return {"sent": len(contacts)}

    worker.run()

Handlers are `def` (run on threads) or `async def` (run on the event loop). `print` goes to the
app's log. `@worker.on_start` and `@worker.on_shutdown` mark functions that run before the first
call and after the last.
"""

from __future__ import annotations

import contextlib
import sys

from .context import Context
from .errors import ChangesLost, CollectionError, Unavailable
from .log import Log
from .records import Changes, Collection
from .worker import Worker

__all__ = [
    "Changes",
    "ChangesLost",
    "Collection",
    "CollectionError",
    "Context",
    "Log",
    "Unavailable",
    "Worker",
]

for _public in (
    Changes,
    ChangesLost,
    Collection,
    CollectionError,
    Context,
    Log,
    Unavailable,
    Worker,
):
    _public.__module__ = __name__  # as code imports it, and as a trace in the log names it

if sys.version_info >= (3, 14):
    import multiprocessing

    # The default since 3.14 is a server that listens at a socket, which a worker may not. Code that
    # chose a method before this line keeps it.
    with contextlib.suppress(RuntimeError):
        multiprocessing.set_start_method("spawn")
