"""HTTP: decode, call the service, encode."""

from __future__ import annotations

from collections.abc import Sequence

from caudex import (
    ANY_USER,
    Request,
    Response,
    Route,
    Services,
    core_permission,
    reply,
    whole_number,
)

from .models import NewNote
from .service import NOTES, NotesService

PATH = "/api/v1/sample/notes"


class NotesRoutes:
    """The routes of the plugin."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare them; the kernel asks for the need before a handler is entered."""
        write = core_permission("sample.write")
        return [
            Route("GET", PATH, self.newest, needs=ANY_USER),
            Route("POST", PATH, self.add, needs=write, body=NewNote, max_body=10_000),
            Route("DELETE", f"{PATH}/{{id}}", self.remove, needs=write),
        ]

    @property
    def _notes(self) -> NotesService:
        return self._services.get(NOTES)

    async def newest(self, request: Request) -> Response:
        """The newest notes."""
        return reply(await self._notes.newest())

    async def add(self, request: Request, body: NewNote) -> Response:
        """Write a note."""
        return reply(await self._notes.add(request.actor, body.text), 201)

    async def remove(self, request: Request) -> Response:
        """Remove a note."""
        note = whole_number("id", request.path("id"), minimum=1)
        await self._notes.remove(request.actor, note)
        return reply({"message": f"note {note} removed"})
