"""A plugin with requests that take long, and a count of those that do."""

from collections.abc import Sequence

import anyio

from kernel.public import PUBLIC, Plugin, Request, Response, Route, Services, hookimpl, reply


class SlowPlugin(Plugin):
    name = "slow"
    waiting = 0

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("GET", "/slow", self.count, needs=PUBLIC),
            Route("GET", "/slow/{seconds}", self.wait, needs=PUBLIC),
        ]

    async def count(self, request: Request) -> Response:
        return reply({"waiting": self.waiting})

    async def wait(self, request: Request) -> Response:
        self.waiting += 1
        await anyio.sleep(float(request.path_params["seconds"]))
        return reply({"waited": True})
