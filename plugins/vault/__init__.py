"""Secrets of apps and of the platform: sealed at rest, delivered to workers only."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

from kernel.public import (
    APPS,
    NOTIFICATIONS,
    SECRETS,
    STATEMENTS,
    VAULT,
    WORKERS,
    Command,
    DatabaseQuery,
    Finding,
    Keyring,
    Plugin,
    Provider,
    Route,
    Services,
    Vault,
    hookimpl,
    provide,
)

from . import store
from .commands import rotate_command
from .config import VaultConfig
from .delivery import Delivery
from .routes import VaultRoutes
from .sealing import key_id
from .service import VaultService


class VaultPlugin(Plugin):
    """Routes, delivery to workers, and an engine that keeps secrets in PostgreSQL."""

    name = "vault"
    requires = (STATEMENTS, NOTIFICATIONS, APPS)
    finds = (WORKERS,)
    Config = VaultConfig
    config: VaultConfig
    _services: Services

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide VAULT; the master key is asked for only where this engine is chosen."""
        return [provide(VAULT, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[VaultService]:
        service = VaultService(services.get(STATEMENTS), self._keyring)
        await service.prepare()
        yield service

    @property
    def _keyring(self) -> Keyring:
        # Other code could read it there.
        os.environ.pop("CAUDEX_PLUGINS__VAULT__MASTER_KEY", None)
        return Keyring(
            "master",
            self.context.data_dir,
            self.config.master_key,
            self.config.old_master_keys,
            key_id,
        )

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        self._services = services
        return VaultRoutes(services).routes()

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex rotate-keys`."""
        return [rotate_command()]

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report a key that is missing or of another database."""
        if self._services.provider(VAULT.name) != self.name:
            return []
        recorded = query(store.MASTER)
        if recorded:
            self._keyring.check(recorded)
        return []

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Restart workers whose secrets changed."""
        delivery = Delivery(services)
        services.get(NOTIFICATIONS).subscribe(SECRETS, delivery.on_notification)
        async with delivery.running():
            yield

    @hookimpl
    async def worker_environment(self, app_id: str) -> Mapping[str, str]:
        """Give a worker its secrets."""
        return await self._vault.reveal(app_id)

    @cached_property
    def _vault(self) -> Vault:
        return self._services.get(VAULT)
