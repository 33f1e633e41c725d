"""Installs, updates, removes and prunes apps, and checks who may do so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

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
    limits_of,
    unregister_app,
)

from . import store
from .catalog import TOPIC
from .config import AppsConfig
from .editing.counts import RENAMES, add_row_counts
from .editing.problems import check_rows
from .manifest.reader import app_id_problem, read_manifest
from .manifest.sections import Sections
from .models import Change, Installed, Manifest, Pruned, Pruning, Verdict
from .schema import ddl, prune, sync
from .schema.steps import Plan
from .schema.tables import add_constraints

COUNTED: Final = ("edit", "undo")
"""Installs whose reply says how many rows the changed tables have."""

WithApp = Callable[[Transaction, str], Awaitable[None]]
"""Part of the transaction of an install; it gets the id of the app."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What was installed, and what that changed."""

    stamp: int
    manifest: Manifest
    changes: list[Change]


class PlannedInstall(msgspec.Struct, frozen=True):
    """What would be installed, what that would change, and what a person should know of it."""

    manifest: Manifest
    changes: list[Change]
    warnings: list[str]


class Installers:
    """Checks who may install, update and remove apps."""

    def __init__(self, apps: Apps, access: Access, anyone: bool) -> None:
        self._apps = apps
        self._access = access
        self._anyone = anyone

    async def check_any(self, actor: Actor) -> None:
        """Refuse a caller that may not install or update any app. Raises Forbidden."""
        if self._anyone or await self._access.is_core_admin(actor.user_id, **limits_of(actor)):
            return
        for app in await self._apps.all():
            if await self._access.is_app_admin(actor.user_id, app.id, **limits_of(actor)):
                return
        raise Forbidden("apps are installed by core admins, and updated by their own admins")

    async def check_install(self, reader: Reader, actor: Actor, app_id: object) -> None:
        """Refuse a caller that may not install or update an app. Raises Forbidden."""
        is_narrow = actor.limits is not None and actor.limits.narrow
        is_core_admin = await self._access.is_core_admin(actor.user_id, **limits_of(actor))
        if is_core_admin and not is_narrow:
            return
        is_installed = (
            isinstance(app_id, str)
            and app_id_problem(app_id) is None
            and await store.is_installed(reader, app_id)
        )
        if is_installed:
            if not await self._access.is_app_admin(actor.user_id, str(app_id), **limits_of(actor)):
                raise Forbidden("an installed app is updated by its own admins only")
        elif not self._anyone and not is_core_admin:
            raise Forbidden("a new app is installed by a core admin only")

    async def check_admin(self, actor: Actor, app_id: str) -> None:
        """Refuse a caller that is not an admin of an app. Raises Forbidden."""
        # Core admins first: the access check may not know an app that was just installed again.
        if await self._access.is_core_admin(actor.user_id, **limits_of(actor)):
            return
        if await self._access.is_app_admin(actor.user_id, app_id, **limits_of(actor)):
            return
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
        self._installs = _limiter(2)
        self._verifies = _limiter(2)
        # A large manifest takes a second of processor time, in a thread beside all requests.
        self._reads = _limiter(1)

    def schema(self) -> bytes:
        """Return the JSON Schema of manifests, with the sections of the enabled plugins."""
        return self._sections.schema

    async def install(
        self, actor: Actor, raw: Mapping[str, Any], *, managed: bool = False
    ) -> Installed:
        """Install a manifest, or sync the app that has its id, in one transaction.

        One that is `managed` comes from a folder, where it is changed from then on.
        """

        async def note_source(tx: Transaction, app_id: str) -> None:
            if managed:
                await store.set_managed_by(tx, app_id, "files")

        via = "deploy" if managed else "install"
        installation = await self.install_step(actor, raw, via, after=note_source)
        manifest = installation.manifest
        return Installed(
            message=f"app '{manifest.app_id}' installed", ignored=list(manifest.ignored)
        )

    async def install_step(
        self,
        actor: Actor,
        raw: Mapping[str, Any],
        via: str,
        before: WithApp | None = None,
        after: WithApp | None = None,
    ) -> Installation:
        """Install a manifest in one transaction; `before` and `after` run in it, under its lock."""
        app_id = raw.get("appId", raw.get("app_id"))
        await self._installers.check_install(self._statements, actor, app_id)
        manifest = await self._read(raw)

        async def work(tx: Transaction) -> Installation:
            await self.begin(tx, manifest.app_id)
            # Again under the lock, as the app may be new or removed by then.
            await self._installers.check_install(tx, actor, manifest.app_id)
            if before is not None:
                await before(tx, manifest.app_id)
            installation = await self._install(tx, manifest, via)
            if after is not None:
                await after(tx, manifest.app_id)
            return installation

        async with self._installs.hold():
            return await self._statements.run(actor, work, quick=False)

    async def plan(self, actor: Actor, raw: Mapping[str, Any]) -> PlannedInstall:
        """Return what an install would change, with the rows of each table.

        Raises BadRequest where an install would, as far as that is known without a lock.
        """
        app_id = raw.get("appId", raw.get("app_id"))
        await self._installers.check_install(self._statements, actor, app_id)
        async with self._verifies.hold():
            manifest = await self._read(raw)
            plan = await sync.make_plan(self._statements, manifest, self._identity.relation())
            await self._announce_plan(manifest, plan)
            warnings = await check_rows(self._statements, plan)
            changes = await add_row_counts(self._statements, manifest.app_id, plan)
        return PlannedInstall(manifest, changes, warnings)

    async def check_any(self, actor: Actor) -> None:
        """Refuse a caller that may not install or update any app. Raises Forbidden."""
        await self._installers.check_any(actor)

    async def verify(self, actor: Actor, raw: Mapping[str, Any]) -> Verdict:
        """Return what an install of a manifest would change, and change nothing."""
        app_id = raw.get("appId", raw.get("app_id"))
        await self._installers.check_install(self._statements, actor, app_id)
        async with self._verifies.hold():
            manifest = await self._read(raw)
            plan = await sync.make_plan(self._statements, manifest, self._identity.relation())
            await self._announce_plan(manifest, plan)
            changes = await add_row_counts(self._statements, manifest.app_id, plan, RENAMES)
        ignored = list(manifest.ignored) or msgspec.UNSET
        return Verdict(compliant=not plan.steps, changes=changes, ignored=ignored)

    async def manifest(self, app_id: str) -> bytes:
        """Return the manifest of an installed app as JSON. Raises NotFound."""
        manifest = await store.read_manifest(self._statements, app_id)
        if manifest is None:
            raise NotFound(f"app '{app_id}' not found")
        return manifest

    async def installs(self, app_id: str) -> bytes:
        """List the installs of an app, the newest first, as JSON."""
        return await store.list_installs(self._statements, app_id)

    async def former_manifest(self, app_id: str, stamp: int) -> bytes:
        """Return the manifest of one install as JSON. Raises NotFound."""
        manifest = await store.read_former_manifest(self._statements, app_id, stamp)
        if manifest is None:
            raise NotFound(f"app '{app_id}' has no install {stamp}")
        return manifest

    async def remove(self, actor: Actor, app_id: str) -> None:
        """Remove an app and its data; the audit trail stays.

        Raises NotFound, Forbidden.
        """

        async def work(tx: Transaction) -> None:
            await self.begin(tx, app_id)
            app = await self.require_admin(tx, actor, app_id)
            await self._bus.emit(hookspecs.app_removing, tx=tx, app=app)
            await unregister_app(tx, app_id)
            await tx.record(Event.core("apps", "APP_REMOVED", actor, app.id, old=_describe(app)))
            await tx.publish(TOPIC, app_id)
            # Last, as dropping links to accounts blocks these for all requests until the commit.
            dropping = [ddl.drop_schema(app_id)]
            await sync.run_foreign_ddl(tx, dropping, self._config.lock_timeout)

        async with self._installs.hold():
            await self._statements.run(actor, work, quick=False)

    async def prune(self, actor: Actor, app_id: str, pruning: Pruning) -> Pruned:
        """Permanently drop what is retired. Raises NotFound, Forbidden, BadRequest."""

        async def work(tx: Transaction) -> Pruned:
            await self.begin(tx, app_id)
            app = await self.require_admin(tx, actor, app_id)
            pruned = await prune.prune(tx, app_id, pruning)
            if not pruning.dry_run and pruned.dropped:
                values = {**_describe(app), "dropped": pruned.dropped}
                await tx.record(Event.core("apps", "APP_PRUNED", actor, app.id, new=values))
                await tx.publish(TOPIC, app_id)
            return pruned

        async with self._installs.hold():
            return await self._statements.run(actor, work, quick=False)

    async def _read(self, raw: Mapping[str, Any]) -> Manifest:
        async with self._reads.hold():
            return await to_thread.run_sync(read_manifest, raw, self._sections)

    async def begin(self, tx: Transaction, app_id: str) -> None:
        """Lock an app for the rest of a transaction, and bound its waits."""
        await store.lock(tx, app_id, self._config.install_queue_timeout)
        await store.limit(tx, "lock_timeout", self._config.lock_timeout)
        await store.limit(tx, "statement_timeout", self._config.statement_timeout)

    async def require_admin(self, tx: Transaction, actor: Actor, app_id: str) -> App:
        """Return an app whose admin the caller is; under the lock, as it may be another by then."""
        apps = await store.read_apps(tx, [app_id])
        if not apps:
            raise NotFound(f"app {app_id!r} not found")
        await self._installers.check_admin(actor, app_id)
        return apps[0]

    async def _install(self, tx: Transaction, manifest: Manifest, via: str) -> Installation:
        app_id = manifest.app_id
        users = self._identity.relation()
        plan = await sync.make_plan(tx, manifest, users)
        changes = plan.changes
        if via in COUNTED:
            changes = await add_row_counts(tx, app_id, plan)
        stamp = await store.next_stamp(tx)
        install_plan = await self._announce_plan(manifest, plan, stamp)
        encoded_manifest = msgspec.json.encode(manifest.raw)
        app = await store.save(tx, install_plan.app, encoded_manifest, via, changes)
        if plan.steps and not plan.first:
            await self._bus.emit(hookspecs.app_changing, tx=tx, app_id=app_id)
        await sync.apply(tx, app_id, plan)
        await store.rename_in_ledger(tx, app_id, plan.renamed)
        await sync.write_ledger(tx, manifest)

        install_plan = msgspec.structs.replace(install_plan, app=app)
        await self._bus.emit(hookspecs.app_installing, tx=tx, plan=install_plan)

        operation = "APP_UPDATED"
        if plan.first:
            operation = "APP_INSTALLED"
        await tx.record(Event.core("apps", operation, tx.actor, app_id, new=_describe(app)))
        await tx.publish(TOPIC, app_id)
        await sync.apply_foreign(tx, app_id, plan, self._config.lock_timeout)
        return Installation(stamp=stamp, manifest=manifest, changes=changes)

    async def _announce_plan(self, manifest: Manifest, plan: Plan, stamp: int = 0) -> InstallPlan:
        """Let plugins refuse a plan, and return it as they get it. Raises BadRequest."""
        tables = sync.tables_of(manifest, self._identity.relation())
        install_plan = InstallPlan(
            app=add_constraints(manifest, tables).app(stamp),
            manifest=manifest.raw,
            first=plan.first,
            new_entities=plan.new_tables,
            renamed=plan.renamed,
        )
        await self._bus.emit(hookspecs.app_planning, plan=install_plan)
        return install_plan


def _limiter(total: int) -> ConcurrencyLimiter:
    message = "too many installs are waiting"
    return ConcurrencyLimiter(total, queue=50, message=message, retry_after=5)


def _describe(app: App) -> dict[str, object]:
    """Return what the audit trail shows of an app."""
    return {"id": app.id, "name": app.name, "version": app.version}


SERVICE = ServiceKey[AppsService]("apps_service")
