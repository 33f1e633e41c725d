"""NOTIFICATIONS by LISTEN and NOTIFY of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from kernel.public import (
    NOTIFICATIONS,
    POOL,
    REGISTRY,
    Plugin,
    Provider,
    Services,
    hookimpl,
    provide,
)

from .service import Notifier


class NotificationsPlugin(Plugin):
    """Provides NOTIFICATIONS."""

    name = "notifications"
    requires = (POOL, REGISTRY)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide NOTIFICATIONS; only a provider that is chosen opens its connection."""
        return [provide(NOTIFICATIONS, _build)]


def _build(services: Services) -> AbstractAsyncContextManager[Notifier]:
    return Notifier(services.get(POOL), services.get(REGISTRY).blame).listening()
