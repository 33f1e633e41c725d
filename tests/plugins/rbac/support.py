"""Apps without the plugin that installs them."""

import itertools
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import plugins
from kernel.public import (
    ACCESS,
    STATEMENTS,
    Actor,
    App,
    Entity,
    InstallPlan,
    Permission,
    Transaction,
    register_app,
    unregister_app,
)
from kernel.testing import Client, Server
from plugins.rbac.decisions import TOPIC, notification
from plugins.rbac.installs import install

_count = itertools.count(1)


def only(*names: str) -> dict[str, Any]:
    """Switch every built-in plugin off but these and those that every server needs."""
    found = (info.name for info in pkgutil.iter_modules(plugins.__path__) if info.ispkg)
    return {
        name: {"enabled": False}
        for name in found
        if name not in ("http_server", "notifications", *names)
    }


def make_app(app_id: str, entities: Sequence[str], declared: Sequence[Permission] = ()) -> App:
    """An app as the catalog would show it."""
    return App(
        id=app_id,
        name=app_id,
        version="1.0.0",
        version_stamp=1,
        entities={
            name: Entity(app_id=app_id, name=name, id_type="uuid", id_declared=False, fields=())
            for name in entities
        },
        permissions=tuple(declared),
    )


def installed(
    server: Server,
    entities: Sequence[str] = ("contacts", "deals"),
    declared: Sequence[Permission] = (),
    *,
    by: Client | None = None,
    app_id: str = "",
    first: bool = True,
) -> str:
    """Install an app (or update it) as far as roles are concerned, and return its id."""
    app = make_app(app_id or f"app{next(_count)}", entities, declared)
    plan = InstallPlan(app=app, manifest={}, first=first)

    async def work(tx: Transaction) -> None:
        await register_app(tx, app.id)
        await install(tx, plan)

    _in_transaction(server, by, work)
    return app.id


def removed(server: Server, app_id: str) -> None:
    """Uninstall an app as far as roles are concerned."""

    async def work(tx: Transaction) -> None:
        await tx.publish(TOPIC, notification(app_id))
        await unregister_app(tx, app_id)

    _in_transaction(server, None, work)


def _in_transaction(server: Server, by: Client | None, work: Callable[[Transaction], Any]) -> None:
    actor = Actor(user_id=by.id if by else None, username=by.username if by else "")
    server.run(server.services.get(STATEMENTS).run, actor, work)


def grant(server: Server, user: Client, app_id: str, *permissions: str) -> str:
    """Make a role with these permissions, assign it, and return its name."""
    role = f"role{next(_count)}"
    roles = f"/api/v1/apps/{app_id}/roles"
    body = {"name": role, "permissions": list(permissions)}
    assert server.admin.post(roles, json=body).status_code == 200
    answer = server.admin.post(f"{roles}/assign", json={"userId": user.id, "role": role})
    assert answer.status_code == 200, answer.text
    return role


def allowed(server: Server, user: Client, app_id: str, entity: str, action: str) -> Any:
    """Ask for a grant the way a worker does; returns the grant or the error's class name."""

    async def ask() -> Any:
        try:
            return await server.services.get(ACCESS).grant(user.id, app_id, entity, action)
        except Exception as error:
            return type(error).__name__

    return server.run(ask)
