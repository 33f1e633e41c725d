"""Idempotency keys: a request that is sent again acts once and gets the same reply."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    IDEMPOTENCY,
    STATEMENTS,
    Plugin,
    Provider,
    ServiceKey,
    Services,
    hookimpl,
    provide,
)

from .service import IdempotencyService

SERVICE = ServiceKey[IdempotencyService]("idempotency_service")


class IdempotencyPlugin(Plugin):
    """Provides IDEMPOTENCY. Without it the header `Idempotency-Key` is refused."""

    name = "idempotency"
    requires = (STATEMENTS,)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide IDEMPOTENCY."""
        return [
            provide(SERVICE, lambda services: IdempotencyService(services.get(STATEMENTS))),
            provide(IDEMPOTENCY, lambda services: services.get(SERVICE)),
        ]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Delete old keys in the background."""
        self.tasks.every(3600, services.get(SERVICE).expire, "delete old keys", leader=True)
        yield
