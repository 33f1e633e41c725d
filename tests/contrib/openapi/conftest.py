"""Servers with the plugin on."""

from __future__ import annotations

import pytest

from kernel.testing import Server, running_server

from .support import TASKS


@pytest.fixture(scope="module")
def server(postgres):
    """A server with the plugin and the app `tasks`."""
    with running_server(postgres, {"plugins": {"openapi": {}}}) as running:
        answer = running.admin.post("/api/v1/apps", json=TASKS)
        assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture
def holder(server: Server):
    """Make a user who holds exactly these permissions on `tasks`."""

    def make(*permissions: str):
        user = server.user()
        path, role = "/api/v1/apps/tasks/roles", f"role-{user.id}"[:40]
        body = {"name": role, "permissions": list(permissions)}
        assert server.admin.post(path, json=body).status_code == 200
        body = {"userId": user.id, "role": role}
        assert server.admin.post(f"{path}/assign", json=body).status_code == 200
        return user

    return make
