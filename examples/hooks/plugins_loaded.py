"""Looks at what every plugin contributes: each handler is wrapped, so that requests are counted by
plugin. A tool for tracing starts like this."""

from collections import Counter
from functools import wraps
from typing import Any

from caudex import ANY_USER, REGISTRY, Plugin, Request, Response, Route, Services, hookimpl, reply


class PluginsLoadedPlugin(Plugin):
    """Counts the requests of each plugin."""

    name = "plugins_loaded"
    requires = (REGISTRY,)

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Every route is known now, and none has been served."""
        self.counts = Counter[str]()
        services.get(REGISTRY).wrap_handlers(self._counted)

    def _counted(self, plugin: str, handler: Any) -> Any:
        @wraps(handler)
        async def count(*arguments: Any) -> Response:
            self.counts[plugin] += 1
            return await handler(*arguments)

        return count

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Show the counts of this process."""
        return [Route("GET", "/api/v1/requests", self.show, ANY_USER)]

    async def show(self, request: Request) -> Response:
        """This request is counted too."""
        return reply(self.counts)
