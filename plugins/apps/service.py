"""Installs, updates, removes and prunes apps, and checks who may do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from anyio import to_thread

from kernel.public import (
    Access,
    Actor,
    App,
    Apps,
    ConcurrencyLimiter,
    Event,
    Forbidden,
    HookBus,
    Identity,
    InstallPlan,
    NotFound,
    Reader,
    ServiceKey,
    Statements,
    Transaction,
    hookspecs,
    unregister_app,
)

from . import store
from .catalog import TOPIC
from .config import AppsConfig
from .manifest.reader import app_id_problem, read_manifest
from .manifest.sections import Sections
from .models import Installed, Manifest, Pruned, Pruning, Verdict
from .schema import ddl, prune, sync
from .schema.tables import with_constraints


class Installers:
    """Checks who may install, update and remove apps."""

    def __init__(self, apps: Apps, access: Access, anyone: bool) -> None:
        self._apps = apps
        self._access = access
        self._anyone = anyone

    async def check_any(self, actor: Actor) -> None:
        """Refuse a caller that may not install or update any app. Raises Forbidden."""
        if self._anyone or await self._access.is_core_admin(actor.user_id):
            return
        for app in await self._apps.all():
            if await self._access.is_app_admin(actor.user_id, app.id):
                return
        raise Forbidden("apps are installed by core admins, and updated by their own admins")

    async def check_install(self, reader: Reader, actor: Actor, app_id: object) -> None:
        """Refuse a caller that may not install or update an app. Raises Forbidden."""
        if await self._access.is_core_admin(actor.user_id):
            return
        known = isinstance(app_id, str) and app_id_problem(app_id) is None
        if known and await store.is_installed(reader, str(app_id)):
            if not await self._access.is_app_admin(actor.user_id, str(app_id)):
                raise Forbidden("an installed app is updated by its own admins only")
        elif not self._anyone:
            raise Forbidden("a new app is installed by a core admin only")

    async def check_admin(self, actor: Actor, app_id: str) -> None:
        """Refuse a caller that is not an admin of an app. Raises Forbidden."""
        # Core admins first: the access check may not know an app that was just installed again.
        user, access = actor.user_id, self._access
        if not (await access.is_core_admin(user) or await access.is_app_admin(user, app_id)):
            raise Forbidden("only admins of the app may do this")


class AppsService:
    """Installs apps and keeps their tables as their manifests declare them."""

    def __init__(
        self,
        statements: Statements,
        installers: Installers,
        identity: Identity,
        bus: HookBus,
        sections: Sections,
        config: AppsConfig,
    ) -> None:
        self._statements = statements
        self._installers = installers
        self._identity = identity
        self._bus = bus
        self._sections = sections
        self._config = config
        # Callers wait in memory, not on a connection that other requests need.
        self._installs, self._verifies, self._reads = (
            ConcurrencyLimiter(
                total, queue=50, message="too many installs are waiting", retry_after=5
            )
            # A large manifest takes a second of processor time, in a thread beside all requests.
            for total in (2, 2, 1)
        )

    def schema(self) -> bytes:
        """Return the JSON Schema of manifests, with the sections of the enabled plugins."""
        return self._sections.schema

    async def install(self, actor: Actor, raw: Mapping[str, Any]) -> Installed:
        """Install a manifest, or sync the app that has its id, in one transaction."""
        app_id = raw.get("appId", raw.get("app_id"))
        await self._installers.check_install(self._statements, actor, app_id)
        manifest = await self._read(raw)

        async def work(tx: Transaction) -> None:
            await self._begin(tx, manifest.app_id)
            # Again under the lock, as the app may be new or removed by then.
            await self._installers.check_install(tx, actor, manifest.app_id)
            await self._install(tx, manifest)

        async with self._installs.hold():
            await self._statements.run(actor, work, quick=False)
        return Installed(
            message=f"app '{manifest.app_id}' installed", ignored=list(manifest.ignored)
        )

    async def check_any(self, actor: Actor) -> None:
        """Refuse a caller that may not install or update any app. Raises Forbidden."""
        await self._installers.check_any(actor)

    async def verify(self, actor: Actor, raw: Mapping[str, Any]) -> Verdict:
        """Return what an install of a manifest would change, and change nothing."""
        app_id = raw.get("appId", raw.get("app_id"))
        await self._installers.check_install(self._statements, actor, app_id)
        async with self._verifies.hold():
            manifest = await self._read(raw)
            plan = await sync.plan_for(self._statements, manifest, self._identity.relation())
        return Verdict(compliant=not plan.steps, changes=plan.changes)

    async def manifest(self, app_id: str) -> bytes:
        """Return the manifest of an installed app as JSON. Raises NotFound."""
        found = await store.manifest(self._statements, app_id)
        if found is None:
            raise NotFound(f"app '{app_id}' not found")
        return found

    async def manifests(self, app_id: str) -> bytes:
        """List the installs of an app, the newest first, as JSON."""
        return await store.manifests(self._statements, app_id)

    async def former(self, app_id: str, stamp: int) -> bytes:
        """Return the manifest of one install as JSON. Raises NotFound."""
        found = await store.former(self._statements, app_id, stamp)
        if found is None:
            raise NotFound(f"app '{app_id}' has no install {stamp}")
        return found

    async def remove(self, actor: Actor, app_id: str) -> None:
        """Remove an app and its data; the audit trail stays.

        Raises NotFound, Forbidden.
        """

        async def work(tx: Transaction) -> None:
            await self._begin(tx, app_id)
            app = await self._administered(tx, actor, app_id)
            await self._bus.emit(hookspecs.app_removing, tx=tx, app=app)
            await unregister_app(tx, app_id)
            await tx.record(_event(actor, app, "APP_REMOVED", old=True))
            await tx.publish(TOPIC, app_id)
            # Last, as dropping links to accounts blocks these for all requests until the commit.
            dropping = [ddl.drop_schema(app_id)]
            await sync.run_foreign_ddl(tx, dropping, self._config.lock_timeout)

        async with self._installs.hold():
            await self._statements.run(actor, work, quick=False)

    async def prune(self, actor: Actor, app_id: str, wanted: Pruning) -> Pruned:
        """Permanently drop what is retired. Raises NotFound, Forbidden, BadRequest."""

        async def work(tx: Transaction) -> Pruned:
            await self._begin(tx, app_id)
            app = await self._administered(tx, actor, app_id)
            pruned = await prune.prune(tx, app_id, wanted)
            if not wanted.dry_run and pruned.dropped:
                await tx.record(_event(actor, app, "APP_PRUNED", more=pruned))
                await tx.publish(TOPIC, app_id)
            return pruned

        async with self._installs.hold():
            return await self._statements.run(actor, work, quick=False)

    async def _read(self, raw: Mapping[str, Any]) -> Manifest:
        async with self._reads.hold():
            return await to_thread.run_sync(read_manifest, raw, self._sections)

    async def _begin(self, tx: Transaction, app_id: str) -> None:
        await store.lock(tx, app_id, self._config.install_queue_timeout)
        await store.limit(tx, "lock_timeout", self._config.lock_timeout)
        await store.limit(tx, "statement_timeout", self._config.statement_timeout)

    async def _administered(self, tx: Transaction, actor: Actor, app_id: str) -> App:
        """Return an app whose admin the caller is; under the lock, as it may be another by then."""
        found = await store.catalog(tx, [app_id])
        if not found:
            raise NotFound(f"app {app_id!r} not found")
        await self._installers.check_admin(actor, app_id)
        return found[0]

    async def _install(self, tx: Transaction, manifest: Manifest) -> None:
        app_id, users = manifest.app_id, self._identity.relation()
        plan = await sync.plan_for(tx, manifest, users)
        tables = sync.tables_of(manifest, users)
        app = with_constraints(manifest, tables).app(await store.next_stamp(tx))
        app = await store.save(tx, app, msgspec.json.encode(manifest.raw))
        await sync.apply(tx, app_id, plan)
        await sync.keep_ledger(tx, manifest)
        await self._bus.emit(
            hookspecs.app_installing,
            tx=tx,
            plan=InstallPlan(
                app=app, manifest=manifest.raw, first=plan.first, new_entities=plan.new_tables
            ),
        )
        await tx.record(_event(tx.actor, app, "APP_INSTALLED" if plan.first else "APP_UPDATED"))
        await tx.publish(TOPIC, app_id)
        await sync.apply_foreign(tx, app_id, plan, self._config.lock_timeout)


def _event(
    actor: Actor, app: App, operation: str, *, old: bool = False, more: Pruned | None = None
) -> Event:
    described: dict[str, object] = {"id": app.id, "name": app.name, "version": app.version}
    if more is not None:
        described["dropped"] = more.dropped
    shown = {"old" if old else "new": described}
    return Event.core("apps", operation, actor, app.id, **shown)


SERVICE = ServiceKey[AppsService]("apps_service")
