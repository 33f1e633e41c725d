"""Installs, updates, removes and prunes apps, and checks who may do so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
from anyio import to_thread

from kernel.public import (
    Access,
    Actor,
    App,
    Apps,
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
    Unavailable,
    hookspecs,
    unregister_app,
)

from . import store
from .config import AppsConfig
from .manifest.reader import app_id_problem, read_manifest
from .manifest.sections import Sections
from .models import Installed, Manifest, Pruned, Pruning, Summary, Verdict
from .schema import ddl, prune, sync
from .schema.tables import with_constraints

TOPIC: Final = "apps"
MAX_INSTALLS: Final = 2
"""Concurrent installs of one process, each with a connection; as many are verified."""

MAX_QUEUED: Final = 50
"""Installs that may wait for others, and as many to be verified, or read."""


class AppsService:
    """Installs apps and keeps their tables as their manifests declare them."""

    def __init__(
        self,
        statements: Statements,
        catalog: Apps,
        access: Access,
        identity: Identity,
        bus: HookBus,
        sections: Sections,
        config: AppsConfig,
    ) -> None:
        self._statements = statements
        self._catalog = catalog
        self._access = access
        self._identity = identity
        self._bus = bus
        self._sections = sections
        self._config = config
        self._installs = anyio.CapacityLimiter(MAX_INSTALLS)
        self._verifies = anyio.CapacityLimiter(MAX_INSTALLS)
        # A large manifest takes a second of processor time, in a thread beside all requests.
        self._reads = anyio.CapacityLimiter(1)

    async def summaries(self) -> list[Summary]:
        """List every installed app by name."""
        return [
            Summary(id=app.id, name=app.name, version=app.version, entities=list(app.entities))
            for app in await self._catalog.all()
        ]

    def schema(self) -> bytes:
        """Return the JSON Schema of manifests, with the sections of the enabled plugins."""
        return self._sections.schema

    async def install(self, actor: Actor, raw: Mapping[str, Any]) -> Installed:
        """Install a manifest, or sync the app that has its id, in one transaction."""
        await self._check_may_install(self._statements, actor, raw.get("appId", raw.get("app_id")))
        manifest = await self._read(raw)

        async def work(tx: Transaction) -> None:
            await self._begin(tx, manifest.app_id)
            await self._check_may_install(tx, actor, manifest.app_id)
            await self._install(tx, manifest)

        async with _limited(self._installs):
            await self._statements.run(actor, work)
        return Installed(
            message=f"app '{manifest.app_id}' installed", ignored=list(manifest.ignored)
        )

    async def check_may_install_any(self, actor: Actor) -> None:
        """Refuse a caller who may neither install nor update any app. Raises Forbidden."""
        if self._config.install == "any" or await self._access.is_core_admin(actor.user_id):
            return
        for app in await self._catalog.all():
            if await self._access.is_app_admin(actor.user_id, app.id):
                return
        raise Forbidden("apps are installed by core admins, and updated by their own admins")

    async def verify(self, actor: Actor, raw: Mapping[str, Any]) -> Verdict:
        """Return what an install of a manifest would change, and change nothing."""
        await self._check_may_install(self._statements, actor, raw.get("appId", raw.get("app_id")))
        async with _limited(self._verifies):
            manifest = await self._read(raw)
            plan = await sync.plan_for(self._statements, manifest, self._identity.relation())
        return Verdict(compliant=not plan.steps, changes=plan.changes)

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

        async with _limited(self._installs):
            await self._statements.run(actor, work)

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

        async with _limited(self._installs):
            return await self._statements.run(actor, work)

    async def _read(self, raw: Mapping[str, Any]) -> Manifest:
        async with _limited(self._reads):
            return await to_thread.run_sync(read_manifest, raw, self._sections)

    async def _check_may_install(self, reader: Reader, actor: Actor, app_id: object) -> None:
        """Check the caller; again under the lock, as the app may be new or removed by then."""
        if await self._access.is_core_admin(actor.user_id):
            return
        known = isinstance(app_id, str) and app_id_problem(app_id) is None
        if known and await store.is_installed(reader, str(app_id)):
            if not await self._access.is_app_admin(actor.user_id, str(app_id)):
                raise Forbidden("an installed app is updated by its own admins only")
        elif self._config.install != "any":
            raise Forbidden("a new app is installed by a core admin only")

    async def _begin(self, tx: Transaction, app_id: str) -> None:
        await store.lock(tx, app_id, self._config.install_queue_timeout)
        await store.limit(tx, "lock_timeout", self._config.lock_timeout)
        await store.limit(tx, "statement_timeout", self._config.statement_timeout)

    async def _administered(self, tx: Transaction, actor: Actor, app_id: str) -> App:
        """Return an app whose admin the caller is; under the lock, as it may be another by then."""
        found = await store.catalog(tx, [app_id])
        if not found:
            raise NotFound(f"app {app_id!r} not found")
        # Core admins first: the access check may not know an app that was just installed again.
        user, access = actor.user_id, self._access
        if not (await access.is_core_admin(user) or await access.is_app_admin(user, app_id)):
            raise Forbidden("only admins of the app may do this")
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


@asynccontextmanager
async def _limited(limiter: anyio.CapacityLimiter) -> AsyncGenerator[None]:
    """Wait in memory, not on a connection that other requests need."""
    if limiter.statistics().tasks_waiting >= MAX_QUEUED:
        raise Unavailable("too many installs are waiting", retry_after=5)
    async with limiter:
        yield


def _event(
    actor: Actor, app: App, operation: str, *, old: bool = False, more: Pruned | None = None
) -> Event:
    described: dict[str, object] = {"id": app.id, "name": app.name, "version": app.version}
    if more is not None:
        described["dropped"] = more.dropped
    encoded = msgspec.json.encode(described)
    return Event(
        app_id="core",
        entity="apps",
        operation=operation,
        actor=actor,
        record_id=app.id,
        old=encoded if old else None,
        new=None if old else encoded,
    )


SERVICE = ServiceKey[AppsService]("apps_service")
