"""A plugin with requests that take long, and a count of those that do."""

from collections.abc import Sequence

import anyio

from kernel.public import PUBLIC, Plugin, Request, Response, Route, Services, hookimpl, reply

FREED = "freed"
"""A file in the folder of the server: once it is there, requests that are held are answered."""


class SlowPlugin(Plugin):
    name = "slow"
    waiting = 0

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("GET", "/slow", self.count, needs=PUBLIC),
            Route("GET", "/slow/held", self.hold, needs=PUBLIC),
            Route("GET", "/slow/{seconds}", self.wait, needs=PUBLIC),
            Route("POST", "/slow/{seconds}", self.wait, needs=PUBLIC),
        ]

    async def count(self, request: Request) -> Response:
        return reply({"waiting": self.waiting})

    async def hold(self, request: Request) -> Response:
        self.waiting += 1
        while not await anyio.Path(FREED).exists():
            await anyio.sleep(0.02)
        return reply({"waited": True})

    async def wait(self, request: Request) -> Response:
        self.waiting += 1
        await anyio.sleep(float(request.path_params["seconds"]))
        return reply({"waited": True})
