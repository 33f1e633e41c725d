"""A server with an app whose records are followed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server

from .support import APP, MANIFEST

ROLES: dict[str, list[str]] = {
    "reader": ["deals.read"],
    "seller": ["deals.read", "contacts.read"],
    "boss": ["deals.read", "contacts.read"],
    "owner": ["deals.read.own", "deals.create", "deals.update", "deals.delete"],
}


def prepare(server: Server) -> None:
    """Install the app and its roles."""
    server.install(MANIFEST)
    for name, permissions in ROLES.items():
        body: dict[str, Any] = {"name": name, "permissions": permissions}
        server.admin.post(f"/api/v1/apps/{APP}/roles", json=body).raise_for_status()


@pytest.fixture(scope="module")
def desk(postgres: Postgres) -> Generator[Server]:
    """A server with the app."""
    with running_server(postgres) as running:
        prepare(running)
        yield running


@pytest.fixture(scope="module")
def admin(desk: Server) -> Client:
    """Its admin."""
    return desk.admin
