"""A server with the audit plugin and a stand-in for accounts and roles, and an app's table."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import plugins
from kernel.contracts.statements import POOL
from kernel.public import (
    App,
    Entity,
    InstallPlan,
    Transaction,
    register_app,
    server_actor,
    unregister_app,
)
from kernel.testing import Client, MakeServer, Postgres, Server, running_server
from tests.plugins.audit.stand_in import CLERK, ROOT

ALONE: Mapping[str, Any] = {
    folder.name: {"enabled": False}
    for folder in Path(plugins.__path__[0]).iterdir()
    if (folder / "__init__.py").exists()
    and folder.name not in ("audit", "http_server", "notifications", "postgres")
}
TABLE = """
create schema if not exists {0};
create table {0}.{1} (
    id uuid primary key default gen_random_uuid(),
    name text, tags text[], data jsonb, at timestamptz,
    created_at timestamptz not null default now(), _owner uuid
)"""


def alone(**audit: Any) -> dict[str, Any]:
    """The configuration of a server with nothing but the audit plugin."""
    stand_in = {"module": "tests.plugins.audit.stand_in:StandInPlugin"}
    return {"plugins": {**ALONE, "audit": audit, "stand_in": stand_in}}


def install(server: Server, app_id: str, *entities: str, make: bool = True) -> None:
    """What an install does, as far as the audit plugin can see."""
    for entity in entities if make else ():
        server.sql(TABLE.format(app_id, entity))
    app = App(
        id=app_id, name=app_id, version="1", version_stamp=1,
        entities={
            name: Entity(app_id=app_id, name=name, id_type="uuid", id_declared=False, fields=())
            for name in entities
        },
    )  # fmt: skip
    announce(server, InstallPlan(app=app, manifest={}, first=True, new_entities=entities))


def announce(server: Server, plan: InstallPlan) -> None:
    """Call the hook in a transaction, as the apps plugin does; first means another app."""
    audit = next(plugin for plugin in server.kernel.instances if plugin.name == "audit")

    async def run(tx: Transaction) -> None:
        if plan.first:
            await unregister_app(tx, plan.app.id)
        app = msgspec.structs.replace(plan.app, key=await register_app(tx, plan.app.id))
        await audit.app_installing(tx, msgspec.structs.replace(plan, app=app))

    server.run(server.services.get(POOL).run, server_actor(), run)


Alone = Callable[..., Server]


@pytest.fixture
def make_alone(make_server: MakeServer) -> Alone:
    return lambda dsn="", **audit: make_server(alone(**audit), dsn=dsn)


@pytest.fixture(scope="module")
def trail(postgres: Postgres) -> Generator[Server]:
    """The server, with the table crm.contacts."""
    with running_server(postgres, alone()) as running:
        install(running, "crm", "contacts")
        yield running


@pytest.fixture(scope="module")
def root(trail: Server) -> Generator[httpx.Client]:
    """A core admin."""
    with Client(base_url=trail.url, headers={"x-user": ROOT}) as client:
        yield client


@pytest.fixture(scope="module")
def clerk(trail: Server) -> Generator[httpx.Client]:
    """An admin of crm."""
    with Client(base_url=trail.url, headers={"x-user": CLERK}) as client:
        yield client
