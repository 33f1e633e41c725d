"""NOTIFICATIONS by LISTEN and NOTIFY of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import NOTIFICATIONS, POOL, Plugin, Provider, hookimpl, provide

from .service import Notifier


class NotificationsPlugin(Plugin):
    """Provides NOTIFICATIONS."""

    name = "notifications"
    requires = (POOL,)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide NOTIFICATIONS; only a provider that is chosen opens its connection."""
        return [provide(NOTIFICATIONS, lambda services: Notifier(services.get(POOL)).listening())]
