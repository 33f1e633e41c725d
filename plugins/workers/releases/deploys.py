"""Deploys: from an archive that was received to a version that answers calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_ADMIN,
    APPS,
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    NotFound,
    Transaction,
    server_actor,
)
from plugins.workers import store
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.host import Host
from plugins.workers.models import Release
from plugins.workers.replica.launch_specs import LaunchSpecs
from plugins.workers.replica.replica import Replica, StartFailed

from .builds import Builder, digest_of, store_archive
from .folders import discard


class Deploys:
    """Receives archives and puts new versions into service."""

    def __init__(
        self, host: Host, builder: Builder, launch_specs: LaunchSpecs, reconciler: Reconciler
    ) -> None:
        self._host = host
        self._builder = builder
        self._launch_specs = launch_specs
        self._reconciler = reconciler
        self._apps = host.services.get(APPS)
        self._access = host.services.get(ACCESS)
        self._uploads = ConcurrencyLimiter(
            16, per_key=8, message="too many archives are being received", retry_after=10
        )
        waiting = "too many deploys of this app are waiting"
        self._turns = ConcurrencyLimiter(per_key=1, queue=4, message=waiting, retry_after=10)
        """Deploys of each app, one at a time."""

    @asynccontextmanager
    async def upload(self, actor: Actor) -> AsyncGenerator[Path]:
        """Name a new file for an archive that is being received, and delete it in the end.

        Raises Unavailable while too many are received, in all or from this user: each may take
        50 MB of the disk.
        """
        async with self._uploads.hold(actor.user_id):
            archive = self._host.folders.upload()
            try:
                yield archive
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(discard, archive)

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`. Nothing remains of a version that does not come up."""
        key = (await self._apps.app(app_id)).key
        supervisor = await self._reconciler.current_supervisor(app_id)
        async with self._turns.hold((app_id, key)):
            await self._check_may_deploy(actor, app_id, None)
            digest, size = await to_thread.run_sync(digest_of, archive)
            release = await self._host.store.begin(app_id, key, digest, self._host.config.uid_count)
            if (logins := self._host.logins) is not None:
                await self._host.statements.run(
                    server_actor(), lambda tx: logins.reopen(tx, app_id)
                )
            self._host.write_log(app_id, "system", f"deploying version {release.version}")
            candidate: Replica | None = None
            try:
                await self._builder.build(release, archive)
                await self._check_may_deploy(actor, app_id, release)
                candidate = await supervisor.start_replica(release)
                attempt = await self._put_in_service(actor, release, archive, size)
            except BaseException as error:
                await self._roll_back(release, candidate)
                if isinstance(error, StartFailed):
                    raise BadRequest(str(error)) from None
                raise
            supervisor.promote(candidate, attempt)
            with anyio.move_on_after(10):
                await supervisor.outcome(attempt)
                # Until its first deploy has begun an app has no row, so this supervisor may have
                # been taken for a former app's. Another one starts the worker then.
                while supervisor.leaving:
                    supervisor = await self._reconciler.current_supervisor(app_id)
                    await supervisor.outcome(attempt)
            await self._launch_specs.tidy(app_id)
        return release.version

    async def _check_may_deploy(self, actor: Actor, app_id: str, release: Release | None) -> None:
        """Check again after each wait of minutes.

        Another app may have the name by now, with other admins and secrets.
        """
        app = await self._apps.app(app_id)
        if release is not None:
            rows = await self._host.store.desired([app_id])
            if app.key != release.key or [row.key for row in rows] != [release.key]:
                raise NotFound(f"app '{app_id}' not found")
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
            details = {"version": release.version, "sha256": release.digest, "size": size}
            await store.record(tx, "DEPLOYED", release.app_id, details)
            return attempt

        return await self._host.statements.run(actor, write)

    async def _roll_back(self, release: Release, candidate: Replica | None) -> None:
        with anyio.CancelScope(shield=True):
            if candidate is not None:
                await candidate.kill()
            await to_thread.run_sync(discard, self._host.folders.release(release))
            # The app may have been uninstalled, so that only its folder is left.
            await self._reconciler.on_notification(release.app_id)
