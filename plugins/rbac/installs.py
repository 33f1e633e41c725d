"""What an install of an app means for its roles and permissions."""

from __future__ import annotations

from functools import partial

from kernel.public import App, Apps, InstallPlan, Statements, Transaction, server_actor

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
    if plan.first and tx.actor.user_id:
        await give(tx, app.id, ADMIN, tx.actor.user_id)


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
