"""Gives each app of a list a host of its own, such as `shop.example.test`."""

from caudex import (
    PUBLIC,
    Plugin,
    Request,
    Response,
    Route,
    Section,
    Services,
    door_of,
    hookimpl,
    reply,
)


class HostsConfig(Section, frozen=True, kw_only=True):
    """`[plugins.app_of_host]`: the app of each host."""

    hosts: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it


class AppOfHostPlugin(Plugin):
    """Serves apps at hosts. A token that is issued through one is good for this app only."""

    name = "app_of_host"
    Config = HostsConfig
    config: HostsConfig

    @hookimpl
    def app_of_host(self, host: str) -> str | None:
        """None is a host of the server itself."""
        return self.config.hosts.get(host)

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Without `app_hosts` the route would be a 404 on the host of an app."""
        return [Route("GET", "/api/v1/door", self.show, PUBLIC, returns=dict[str, str | None],
                      app_hosts=True)]  # fmt: skip

    async def show(self, request: Request) -> Response:
        """Show through which app's host a request came."""
        return reply({"app": door_of(request.scope)})
