"""A plugin that greets."""

from __future__ import annotations

from collections.abc import Sequence

from caudex import (
    STATEMENTS,
    ConsolePage,
    Event,
    PageAction,
    PageTable,
    Permission,
    Plugin,
    Provider,
    Route,
    Services,
    core_permission,
    for_subjects,
    hookimpl,
    provide,
)

from .config import HelloConfig
from .routes import HelloRoutes
from .service import GREETINGS, GreetingService


class HelloPlugin(Plugin):
    """Greets a named user, and every new contact of the CRM."""

    name = "hello"
    version = "1.0.0"
    Config = HelloConfig
    requires = (STATEMENTS,)

    _greetings: GreetingService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the greetings; the factory runs once the database is open."""
        return [provide(GREETINGS, self._make)]

    def _make(self, services: Services) -> GreetingService:
        self._greetings = GreetingService(services.get(STATEMENTS), self.config)
        return self._greetings

    @hookimpl
    def register_permissions(self) -> Sequence[Permission]:
        """Declare the keys that a role on `core` can hold."""
        return [
            Permission("hello.read", "Read greetings"),
            Permission("hello.greet", "Greet a user"),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return HelloRoutes(services).routes()

    @hookimpl(optionalhook=True)
    def register_pages(self, services: Services) -> Sequence[ConsolePage]:
        """Add a page to the console; `optionalhook`, as the console can be off."""
        return [
            ConsolePage(
                "Greetings",
                icon="book",
                needs=core_permission("hello.read"),
                table=PageTable("GET /api/v1/hello"),
                actions=(PageAction("Greet", "POST /api/v1/hello"),),
            )
        ]

    @hookimpl
    @for_subjects("crm.contacts")
    async def event_committed(self, event: Event) -> None:
        """Greet a new contact; the contact is in, whatever happens here."""
        if self._greetings is not None and event.operation == "INSERT":
            await self._greetings.greet_contact(event)
