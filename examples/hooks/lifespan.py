"""Lives beside the server: a loop that ends with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from caudex import ANY_USER, Plugin, Request, Response, Route, Services, hookimpl, reply


class LifespanPlugin(Plugin):
    """Counts the tenths of a second that the server has been up."""

    name = "lifespan"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.ticks = 0
        self.ended = False

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """A task group: nothing is fire-and-forget, and a failure is not lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick)
            yield
            tasks.cancel_scope.cancel()
        self.ended = True

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(0.1)
            self.ticks += 1

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """One route to see it."""
        return [Route("GET", "/api/v1/ticks", self.show, needs=ANY_USER)]

    async def show(self, request: Request) -> Response:
        """How many there were."""
        return reply({"ticks": self.ticks})
