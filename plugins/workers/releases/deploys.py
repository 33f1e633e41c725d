"""Deploys: from an archive that is received to a version that answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_ADMIN,
    APPS,
    STATEMENTS,
    Actor,
    BadRequest,
    FairShare,
    NotFound,
    Services,
    Transaction,
    Unavailable,
    server_actor,
)
from plugins.workers import logins, store
from plugins.workers.config import WorkersConfig
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.control.supervisor import Supervisor
from plugins.workers.models import Release
from plugins.workers.replica.launch_specs import LaunchSpecs
from plugins.workers.replica.replica import Replica, StartFailed
from plugins.workers.store import WorkersStore

from .archive_chunks import store_archive
from .builds import Builder
from .folders import Folders, digest_of, discard

PROMOTION_SECONDS: Final = 10.0
"""Seconds that a deploy waits until the version that is up already answers the calls."""

MAX_UPLOADS: Final = 16
RECEIVING: Final = "too many archives are being received"


class Deploys:
    """What deploys of all apps share. `supervisor` finds that of an app; `forget_former` takes what
    is left of an app that was born earlier."""

    def __init__(
        self,
        services: Services,
        workers: WorkersStore,
        folders: Folders,
        builder: Builder,
        launch_specs: LaunchSpecs,
        reconciler: Reconciler,
        supervisor: Callable[[str], Awaitable[Supervisor]],
        forget_former: Callable[[Transaction, str, int], Awaitable[None]],
        config: WorkersConfig,
    ) -> None:
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._access = services.get(ACCESS)
        self._store = workers
        self._folders = folders
        self._builder = builder
        self._launch_specs = launch_specs
        self._reconciler = reconciler
        self._supervisor = supervisor
        self._forget_former = forget_former
        self._config = config
        self._uploads = 0
        self._uploaders = FairShare(MAX_UPLOADS, RECEIVING, retry_after=10)

    @asynccontextmanager
    async def upload(self, actor: Actor) -> AsyncGenerator[Path]:
        """Name a new file for an archive that is received, and remove it in the end.

        Raises Unavailable while too many are under way, of all or of this user: each may take 50 MB
        of the disk.
        """
        if self._uploads >= MAX_UPLOADS:
            raise Unavailable(RECEIVING, retry_after=10)
        with self._uploaders.held(actor.user_id):
            self._uploads += 1
            archive = self._folders.upload()
            try:
                yield archive
            finally:
                self._uploads -= 1
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(discard, archive)

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`. Nothing stays of a version that does not come up."""
        born = (await self._apps.app(app_id)).born
        number = await self._number(app_id, born)
        supervisor = await self._supervisor(app_id)
        async with supervisor.deploying():
            await self._check_may_deploy(actor, app_id, number)
            digest, size = await to_thread.run_sync(digest_of, archive)
            release = await self._store.begin(app_id, digest, self._config.uid_count, born)
            await self._statements.run(server_actor(), lambda tx: logins.reopen(tx, app_id))
            self._launch_specs.write_log(app_id, "system", f"deploying version {release.version}")
            candidate: Replica | None = None
            try:
                await self._builder.build(release, archive, self._launch_specs.log_of(app_id))
                await self._check_may_deploy(actor, app_id, release.number)
                candidate = await supervisor.start_replica(release)
                attempt = await self._put_in_service(actor, release, archive, size)
            except BaseException as error:
                await self._roll_back(release, candidate)
                if isinstance(error, StartFailed):
                    raise BadRequest(str(error)) from None
                raise
            supervisor.promote(candidate, attempt)
            with anyio.move_on_after(PROMOTION_SECONDS):
                await supervisor.outcome(attempt)
                # An app has no row until its first deploy has begun: its supervisor may have been
                # taken for that of the former app of its name, and another one starts the worker.
                while supervisor.leaving:
                    supervisor = await self._supervisor(app_id)
                    await supervisor.outcome(attempt)
            await self._launch_specs.tidy(app_id)
        return release.version

    async def _number(self, app_id: str, born: int = 0) -> int | None:
        """That of an app which was born then; what is known of a former one goes."""
        rows = await self._store.wanted([app_id])
        if rows and rows[0].born < born:
            await self._statements.run(
                server_actor(), lambda tx: self._forget_former(tx, app_id, born)
            )
            return None
        return rows[0].number if rows else None

    async def _check_may_deploy(self, actor: Actor, app_id: str, number: int | None) -> None:
        """Asked again after each wait of minutes: another app may have the name by now, with other
        admins and other secrets. `number` is that of the app before, if it had one."""
        if number is not None and number != await self._number(app_id):
            raise NotFound(f"app '{app_id}' not found")
        await self._apps.app(app_id)
        if actor.user_id is not None:
            await self._access.authorize(actor, APP_ADMIN, {"app_id": app_id})

    async def _put_in_service(
        self, actor: Actor, release: Release, archive: Path, size: int
    ) -> int:
        async def write(tx: Transaction) -> int:
            if not await store.save(tx, release, size):
                raise NotFound(f"app '{release.app_id}' not found")
            await store_archive(tx, release, archive)
            attempt = await store.promote(tx, release)
            if attempt is None:
                raise BadRequest("a later version was deployed meanwhile")
            told = {"version": release.version, "sha256": release.digest, "size": size}
            await store.record(tx, "DEPLOYED", release.app_id, told)
            return attempt

        return await self._statements.run(actor, write)

    async def _roll_back(self, release: Release, candidate: Replica | None) -> None:
        with anyio.CancelScope(shield=True):
            if candidate is not None:
                await candidate.kill()
            await to_thread.run_sync(discard, self._folders.release(release))
            await self._reconciler.on_notification(
                release.app_id
            )  # the app may be gone, but for its folder
