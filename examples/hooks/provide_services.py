"""Offers a service, for its own routes and for other plugins."""

from caudex import (
    ANY_USER,
    Plugin,
    Provider,
    Request,
    Response,
    Route,
    ServiceKey,
    Services,
    hookimpl,
    provide,
    reply,
)


class Prices:
    """What things cost."""

    def price(self, thing: str) -> int:
        """Cents."""
        return {"tea": 250}.get(thing, 400)


PRICES = ServiceKey[Prices]("prices")


class ProvideServicesPlugin(Plugin):
    """Knows prices; another plugin may offer the same key, and the operator chooses."""

    name = "provide_services"

    @hookimpl
    def provide_services(self) -> list[Provider]:
        """The factory runs once the database is open; it may be an async context manager."""
        return [provide(PRICES, lambda services: Prices())]

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Services are ready when a request arrives, so the handler requests them."""

        async def price(request: Request) -> Response:
            return reply({"cents": services.get(PRICES).price(request.path("thing"))})

        return [Route("GET", "/api/v1/prices/{thing}", price, needs=ANY_USER)]
