"""Frontends of apps: which there are, and where."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from kernel.contracts.base import ServiceKey
from kernel.contracts.server.routes import Request

__all__ = ["FRONTENDS", "Frontends"]


class Frontends(Protocol):
    """The frontends of all apps."""

    @property
    def own_login(self) -> bool:
        """Whether pages of apps may have login forms of their own; else passwords are refused at
        their hosts."""
        ...

    async def deployed(self) -> Collection[str]:
        """Return the ids of apps that have a frontend, from memory."""
        ...

    def url(self, app_id: str, request: Request) -> str | None:
        """Return the address of an app's first page for a client that sent this request.

        None where the app can have no host: its id gives no name, or the server has no domain.
        """
        ...


FRONTENDS = ServiceKey[Frontends]("frontends")
"""Frontends of apps."""
