"""Runs a background task while the server runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

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
        """Start the task. If it fails, it is restarted, and the server goes on."""
        self.tasks.every(0.1, self._tick, "tick")
        yield
        self.ended = True

    async def _tick(self) -> None:
        self.ticks += 1

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """One route to see it."""
        return [Route("GET", "/api/v1/ticks", self.show, needs=ANY_USER)]

    async def show(self, request: Request) -> Response:
        """How many there were."""
        return reply({"ticks": self.ticks})
