"""A server with the CRM example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel.testing import Server

CRM = json.loads(Path("examples/crm/manifest.json").read_text("utf-8"))
DATA = "/api/v1/apps/crm/collections"


@pytest.fixture(scope="module")
def crm(server: Server) -> Server:
    """A server with the CRM, three companies and six deals; what was there before is gone."""
    server.install(CRM)  # where it is installed already, only its records go
    tables = ", ".join(f"crm.{entity['entityName']}" for entity in CRM["dataContract"])
    server.sql(f"truncate {tables}")
    names = [("Acme", "Technology"), ("Bolt & Co", "Finance"), ("Cobalt", "Retail")]
    companies = server.admin.post(
        f"{DATA}/companies/bulk", json=[{"name": name, "industry": of} for name, of in names]
    ).json()
    deals = [
        {
            "title": f"Deal {n}",
            "value": n * 1000,
            "stage": ("Lead", "Qualified", "Closed Won")[n % 3],
            "company_id": companies[n % 3]["id"],
            "close_date": f"2031-0{n + 1}-15",
        }
        for n in range(6)
    ]
    assert server.admin.post(f"{DATA}/deals/bulk", json=deals).status_code == 201
    return server
