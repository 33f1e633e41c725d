"""A plugin whose threads never return, and one that blocks the event loop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

import structlog
from anyio import to_thread

from kernel.public import PUBLIC, Plugin, Request, Response, Route, Services, hookimpl, reply

log = structlog.get_logger("stuck")


def loop_in_python() -> NoReturn:
    log.info("it is stuck")
    while True:
        pass


def loop_in_c() -> NoReturn:
    """Each call has the interpreter to itself for a while, as the count of names had."""
    names = [str(number) for number in range(200_000)]
    log.info("it is stuck")
    while True:
        names.count("")


def wait() -> None:
    log.info("it is stuck")
    threading.Event().wait()


LOOPS: dict[str, Callable[[], object]] = {"python": loop_in_python, "c": loop_in_c, "wait": wait}


class StuckPlugin(Plugin):
    name = "stuck"

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("GET", "/stuck/awaited/{kind}", self.await_thread, needs=PUBLIC),
            Route("GET", "/stuck/left/{kind}", self.leave_thread, needs=PUBLIC),
            Route("GET", "/stuck/executor/{kind}", self.leave_to_executor, needs=PUBLIC),
            Route("GET", "/stuck/loop/{kind}", self.block, needs=PUBLIC),
        ]

    async def await_thread(self, request: Request) -> Response:
        await to_thread.run_sync(LOOPS[request.path("kind")])
        return reply({})

    async def leave_thread(self, request: Request) -> Response:
        threading.Thread(target=LOOPS[request.path("kind")], name="left").start()
        return reply({})

    async def leave_to_executor(self, request: Request) -> Response:
        asyncio.get_running_loop().run_in_executor(None, LOOPS[request.path("kind")])
        return reply({})

    async def block(self, request: Request) -> Response:
        LOOPS[request.path("kind")]()
        return reply({})
