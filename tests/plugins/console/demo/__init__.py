"""A plugin with a page of each kind, for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    ConsolePage,
    PageAction,
    PageColumn,
    PageTable,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    hookimpl,
    reply,
)


class Guest(msgspec.Struct):
    """The body of a greeting."""

    name: str
    loud: bool = False
    times: int | None = None


class GuestsPlugin(Plugin):
    """Keeps guests in memory."""

    name = "guests"
    guests: ClassVar[list[dict[str, Any]]] = []

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes of the pages."""
        path = "/api/v1/guests"
        return [
            Route("GET", path, self.list, ANY_USER),
            Route("POST", path, self.greet, ANY_USER, Guest),
            Route("DELETE", f"{path}/{{id}}", self.drop, CORE_ADMIN),
        ]

    @hookimpl(optionalhook=True)
    def register_pages(self, services: Services) -> Sequence[ConsolePage]:
        """Show one declared page, and modules that work, throw, never end, or export nothing."""
        path = "/api/v1/guests"
        return [
            ConsolePage(
                "Guests",
                icon="book",
                text="Whom we greeted: **declared**, without JavaScript.",
                table=PageTable(f"GET {path}", ("name", PageColumn("at", "When", "time"))),
                actions=(
                    PageAction("Greet", f"POST {path}"),
                    PageAction("Forget", f"DELETE {path}/{{id}}", confirm="Forget this guest?"),
                ),
            ),
            ConsolePage("Module", module="works.js"),
            ConsolePage("Broken", module="throws.js"),
            ConsolePage("Empty", module="empty.js"),
            ConsolePage("Loops", module="loops.js"),
            ConsolePage("Admins", needs=CORE_ADMIN, text="Only for admins."),
            ConsolePage("Tile", module="works.js", slot="tile"),
            ConsolePage("Sales", module="sales.js", slot="tile", on=("crm",)),
            ConsolePage("Beside", module="beside.js", slot="record"),
            ConsolePage("Colour", module="colour.js", slot="field", on=("*.*.colour",)),
            ConsolePage("Mood", module="mood.js", slot="field", on=("notes.pages.mood",)),
            ConsolePage("Print", module="print.js", slot="action", on=("notes.pages",)),
            ConsolePage("Print all", module="print.js", slot="palette"),
        ]

    async def list(self, request: Request) -> Response:
        """List the guests."""
        return reply(self.guests)

    async def greet(self, request: Request, body: Guest) -> Response:
        """Greet a guest."""
        row = {"id": str(len(self.guests)), "name": body.name, "at": "2031-01-01T00:00:00Z"}
        self.guests.append(row)
        return reply({"message": f"Hello, {body.name}" + ("!" if body.loud else "")})

    async def drop(self, request: Request) -> Response:
        """Forget a guest."""
        wanted = request.path("id")
        self.guests[:] = [each for each in self.guests if each["id"] != wanted]
        return reply({"message": "forgotten"})


STORE = {
    "appId": "store", "name": "Store", "dataContract": [],
    "consolePages": [{
        "title": "Shelf stock", "icon": "table",
        "table": {"rpc": "list_stock", "columns": [{"name": "item", "title": "Item"}]},
        "actions": [
            {"title": "Order", "rpc": "order", "body": {"properties": {"n": {"type": "integer"}}}},
            {"title": "Drop", "rpc": "drop", "row": True, "confirm": "Drop it?"},
        ],
    }],
}  # fmt: skip
"""An app with a page for its worker."""
