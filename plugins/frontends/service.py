"""The rules: what deploying, rolling back and removing a frontend mean."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_ADMIN,
    APPS,
    CORE_ADMIN,
    STATEMENTS,
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    NotFound,
    ServiceKey,
    Services,
    Transaction,
    full_disk,
)

from . import store
from .bundles.building import Built, build
from .bundles.shelf import Shelf
from .hosts import Hosts
from .models import Release
from .policy import KEY, Policy
from .serving.directory import Directory
from .store import FrontendsStore


class FrontendsService:
    """Deploys frontends, and puts other versions of them into service."""

    def __init__(
        self, services: Services, shelf: Shelf, directory: Directory, hosts: Hosts, policy: Policy
    ) -> None:
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._access = services.get(ACCESS)
        self._store = FrontendsStore(self._statements)
        self._shelf = shelf
        self._directory = directory
        self._hosts = hosts
        self._policy = policy
        self._uploads = ConcurrencyLimiter(
            16, per_key=8, message="too many archives are being received", retry_after=10
        )
        self._builds = ConcurrencyLimiter(
            1, queue=8, message="too many frontends are being built", retry_after=5
        )
        self._deploys = ConcurrencyLimiter(
            per_key=1, queue=4, message="too many deploys of this app are waiting", retry_after=10
        )

    @asynccontextmanager
    async def receive_upload(self, actor: Actor) -> AsyncGenerator[Path]:
        """Name a new file for an archive that is being received, and delete it in the end.

        Raises Unavailable while too many are received, in all or from this user.
        """
        async with self._uploads.hold(actor.user_id):
            archive = self._shelf.locate_temporary()
            try:
                yield archive
            finally:
                archive.unlink(missing_ok=True)

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> tuple[int, list[str]]:
        """Put the site of an archive into service; return its version and what was ignored.

        It is checked whole before anything changes. Raises BadRequest, NotFound, Forbidden.
        """
        app = await self._apps.app(app_id)
        async with self._deploys.hold((app_id, app.key)):
            digest, size = await to_thread.run_sync(_digest_of, archive)
            bundle = self._shelf.locate_temporary()
            try:
                built = await self._build(archive, bundle)
                await self._check_may_deploy(actor, app_id, app.key)
                version = await self._store.begin(app_id, app.key)
                if version is None:
                    raise NotFound(f"app '{app_id}' not found")
                release = Release(
                    app_id=app_id, version=version, digest=digest, size=size, bundle=built.digest
                )
                # Before the commit: other processes of this machine then find it at once.
                copy = await to_thread.run_sync(self._shelf.keep, bundle, built.digest)
                await self._put_in_service(actor, release, app.key, copy)
            finally:
                bundle.unlink(missing_ok=True)
            await self._directory.refresh()
        ignored = [*built.ignored, *await self._list_ignored_wishes(app_id)]
        return version, ignored[:100]

    async def roll_back(self, actor: Actor, app_id: str, version: int | None) -> int:
        """Put a version that is kept into service, and return it.

        Without a version it is the one before the current. Raises NotFound.
        """
        await self._apps.app(app_id)

        async def write(tx: Transaction) -> int:
            current = await store.lock_service(tx, app_id)
            if current is None:
                raise NotFound(f"app '{app_id}' has no frontend")
            chosen = await store.find_version(tx, app_id, version, current)
            if chosen is None:
                target = "earlier version" if version is None else f"version {version}"
                raise NotFound(f"the frontend of app '{app_id}' has no {target}")
            await store.put_in_service(tx, app_id, chosen, current)
            details = {"version": chosen, "former": current}
            await store.record(tx, "FRONTEND_ROLLED_BACK", app_id, details)
            return chosen

        chosen = await self._statements.run(actor, write)
        await self._directory.refresh()
        return chosen

    async def remove(self, actor: Actor, app_id: str) -> None:
        """Delete the frontend of an app with all its versions. Raises NotFound."""
        await self._apps.app(app_id)

        async def write(tx: Transaction) -> None:
            current = await store.lock_service(tx, app_id)
            if current is None:
                raise NotFound(f"app '{app_id}' has no frontend")
            await store.remove(tx, app_id)
            await store.record(tx, "FRONTEND_REMOVED", app_id, {"version": current})

        await self._statements.run(actor, write)
        await self._directory.refresh()

    async def read_versions(self, app_id: str) -> bytes:
        """Return a JSON array of the versions that are kept, the newest first. Raises NotFound."""
        await self._apps.app(app_id)
        return await self._store.read_versions(app_id)

    async def _build(self, archive: Path, bundle: Path) -> Built:
        async with self._builds.hold():
            folder = self._shelf.locate_temporary()
            folder.mkdir(0o700)
            try:
                with full_disk():
                    return await to_thread.run_sync(build, archive, folder, bundle)
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def _check_may_deploy(self, actor: Actor, app_id: str, key: int) -> None:
        """Check again after the build: another app may have the name by now, with other admins."""
        app = await self._apps.app(app_id)
        if app.key != key:
            raise NotFound(f"app '{app_id}' not found")
        if not actor.is_server:
            needs = CORE_ADMIN if self._hosts.serve_paths else APP_ADMIN
            await self._access.authorize(actor, needs, {"app_id": app_id})

    async def _put_in_service(self, actor: Actor, release: Release, key: int, bundle: Path) -> None:
        async def write(tx: Transaction) -> None:
            if not await store.save(tx, release, key):
                raise NotFound(f"app '{release.app_id}' not found")
            with bundle.open("rb") as file:
                position = 0
                while data := await to_thread.run_sync(file.read, store.CHUNK):
                    await store.add_chunk(tx, release, position, data)
                    position += 1
            former = await store.lock_service(tx, release.app_id)
            if former is not None and former > release.version:
                raise BadRequest("a later version was deployed meanwhile")
            await store.put_in_service(tx, release.app_id, release.version, former)
            await store.prune(tx, release.app_id, release.version)
            details = {"version": release.version, "sha256": release.digest, "size": release.size}
            await store.record(tx, "FRONTEND_DEPLOYED", release.app_id, details)

        await self._statements.run(actor, write, quick=False)

    async def _list_ignored_wishes(self, app_id: str) -> list[str]:
        sections = await self._apps.sections(KEY)
        values = [section.value for section in sections if section.app_id == app_id]
        section: Mapping[str, Any] | None = values[0] if values else None
        return self._policy.list_ignored(section)


def _digest_of(archive: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file, and its size. Blocking."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, archive.stat().st_size


SERVICE = ServiceKey[FrontendsService]("frontends_service")
