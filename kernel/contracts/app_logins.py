"""Database logins of apps, each limited to the tables of its app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from kernel.contracts.services import ServiceKey

if TYPE_CHECKING:
    from kernel.contracts.apps import App
    from kernel.contracts.statements import Transaction


class AppLogins(Protocol):
    """Makes logins for workers, and ends sessions that hold too much."""

    async def url(self, app: App) -> str | None:
        """Return the connection string of an app's login, None where it has none or is shut.

        Raises Unavailable when an install of the app takes long.
        """
        ...

    async def reopen(self, tx: Transaction, app_id: str) -> None:
        """Let the login of an app in again, if it was shut."""
        ...

    async def notes(self, app_id: str) -> Sequence[str]:
        """Return what keeps the worker of an app from the database, for its status."""
        ...

    def on_exhausted(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` when the database has no room for locks, so that workers must end."""
        ...


APP_LOGINS = ServiceKey[AppLogins]("app_logins")
