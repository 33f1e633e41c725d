"""Secrets as files: each one sealed, in a folder that every server process can reach."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kernel.public import (
    APPS,
    STATEMENTS,
    VAULT,
    App,
    Command,
    InstallPlan,
    Keyring,
    Plugin,
    Provider,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from .commands import vault_file_command
from .config import VaultFileConfig
from .files import Folder
from .sealing import key_id
from .service import VaultFileService


class VaultFilePlugin(Plugin):
    """An engine for VAULT; the routes and the delivery to workers stay those of `vault`."""

    name = "vault_file"
    requires = (STATEMENTS,)
    uses = (APPS,)
    Config = VaultFileConfig
    config: VaultFileConfig
    _service: VaultFileService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide VAULT; folder and key are touched only where this engine is chosen."""
        return [provide(VAULT, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[VaultFileService]:
        service = VaultFileService(services.get(STATEMENTS), self._folder, self._keyring)
        await service.prepare()
        self._service = service
        apps = services.find(APPS)
        if apps is not None:
            await service.wipe_former(apps)
        yield service

    @property
    def _keyring(self) -> Keyring:
        # Other code could read it there.
        os.environ.pop("CAUDEX_PLUGINS__VAULT_FILE__MASTER_KEY", None)
        return Keyring(
            "vault_file",
            self.context.data_dir,
            self.config.master_key,
            self.config.old_master_keys,
            key_id,
        )

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return [vault_file_command(self._open)]

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Let a new app begin without what a former one of its name may have left.

        Where another engine is chosen, the next start with this one looks after that.
        """
        if self._service is not None:
            await self._service.installed(tx, plan.app.id)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Delete the app's files once it is gone: a file does not come back with a rollback."""
        if self._service is not None:
            await self._service.forget(tx, app.id)

    @property
    def _folder(self) -> Folder:
        if self.config.folder:
            return Folder(Path(self.config.folder))
        return Folder(self.context.data_dir / "secrets")
