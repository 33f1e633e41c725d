"""A server with the plugin, and a CRM with some records."""

from __future__ import annotations

import pytest

from kernel.testing import Server, running_server
from tests.contrib.mcp.support import CRM, Agent


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {"plugins": {"mcp": {"rate": 100_000}}}) as running:
        running.install(CRM)
        yield running


@pytest.fixture(scope="module")
def admin(server: Server) -> Agent:
    return Agent(server.admin)


@pytest.fixture(scope="module")
def acme(admin: Agent) -> str:
    """The id of a company with three deals."""
    company = {"$ref": "acme.id"}
    done = admin.use(
        "mutate_data",
        app="crm",
        operations=[
            {"op": "create", "entity": "companies", "as": "acme", "data": {"name": "Acme"}},
            *(
                {
                    "op": "create",
                    "entity": "deals",
                    "data": {"title": f"Deal {n}", "value": n * 100, "company": company},
                }
                for n in (1, 2, 3)
            ),
        ],
    )
    return done["results"][0]["id"]
