"""Undo: what was recorded of records, taken back."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ACCESS,
    APPS,
    RECORDED,
    RECORDS,
    STATEMENTS,
    TRACES,
    Plugin,
    Route,
    Services,
    hookimpl,
)

from .routes import UndoRoutes


class UndoPlugin(Plugin):
    """Serves `POST /api/v1/apps/{app_id}/undo`."""

    name = "undo"
    requires = (STATEMENTS, ACCESS, APPS, RECORDED, RECORDS)
    finds = (TRACES,)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the route."""
        return UndoRoutes(services).routes()
