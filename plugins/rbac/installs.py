"""What an install of an app means for its roles and permissions."""

from __future__ import annotations

from functools import partial

import msgspec

from kernel.public import App, Apps, InstallPlan, Statements, Transaction, rename_keys, server_actor

from . import store
from .decisions import TOPIC, notification
from .field_rules import permissions_of_fields, rules_of
from .grammar import permissions_of
from .models import ADMIN
from .service import give


async def install(tx: Transaction, plan: InstallPlan) -> None:
    """Store the permission keys of an app, and assign a new app's `admin` to its installer.

    An app that was installed while another plugin provided ACCESS is not new and has no `admin`.
    """
    app = plan.app
    await take_over(tx, app)
    if plan.renamed:
        await rename_permissions(tx, plan)
    if plan.first and tx.actor.user_id:
        await give(tx, app.id, ADMIN, tx.actor.user_id)


async def rename_permissions(tx: Transaction, plan: InstallPlan) -> None:
    """Rename entities and fields in the permissions of roles, and in grants of other apps."""
    app_id = plan.app.id
    row, roles = await store.lock_app(tx, app_id)
    for role in roles.values():
        keys = rename_keys(plan, role.permissions)
        if keys != role.permissions:
            renamed_role = msgspec.structs.replace(role, permissions=keys)
            await store.update_role(tx, app_id, renamed_role)
    for grantee, granted_keys in row.grants.items():
        keys = rename_keys(plan, granted_keys)
        if keys != granted_keys:
            await store.put_grant(tx, grantee, app_id, keys)


async def take_over(tx: Transaction, app: App) -> None:
    """Store the permission keys of an app."""
    entities = list(app.entities)
    rules = rules_of(app)
    permissions = permissions_of(entities, app.permissions, permissions_of_fields(rules))
    await store.put_app(tx, app.id, entities, permissions, rules)
    await store.add_admin_role(tx, app.id)
    await tx.publish(TOPIC, notification(app.id))


async def catch_up(statements: Statements, apps: Apps) -> None:
    """Store the apps that were installed while another plugin provided ACCESS."""
    await apps.refresh()
    stored_ids = await store.list_app_ids(statements)
    for app in await apps.all():
        if app.id not in stored_ids:
            await statements.run(server_actor(), partial(take_over, app=app))
