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
    requires = (STATEMENTS, ACCESS, APPS, RECORDS)
    uses = (RECORDED,)
    finds = (TRACES,)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the route, where a plugin has recorded what can be undone."""
        if services.provider(RECORDED.name) is None:
            return []
        return UndoRoutes(services).routes()
