"""A server with an app whose tables have links, a unique field, and files."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Server

CRM: dict[str, Any] = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "code", "type": "text"},
            ],
            "indexes": [{"columns": ["code"], "unique": True}],
        },
        {
            "entityName": "contacts",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "email", "type": "text"},
                {"name": "age", "type": "number"},
                {"name": "tags", "type": "[text]"},
                {"name": "data", "type": "json"},
                {"name": "born", "type": "date"},
                {"name": "seen", "type": "timestamp"},
                {"name": "photo", "type": "file", "maxSize": "1MB"},
                {"name": "papers", "type": "[file]", "maxSize": "1MB"},
                {
                    "name": "company",
                    "type": "entity_link",
                    "references": {"entity": "companies"},
                    "on_delete": "cascade",
                },
                {
                    "name": "boss",
                    "type": "entity_link",
                    "references": {"entity": "contacts"},
                    "on_delete": "set_null",
                },
            ],
        },
        {
            "entityName": "orders",
            "fields": [
                {"name": "title", "type": "text"},
                {
                    "name": "contact",
                    "type": "entity_link",
                    "references": {"entity": "contacts"},
                    "on_delete": "restrict",
                },
            ],
        },
    ],
}
"""`companies` < `contacts` (goes with its company) < `orders` (keep their contact)."""

APP = "/api/v1/apps/crm"

Row = dict[str, Any]


class Crm:
    """The app, as one user works with it. Each write is a request with an id of its own."""

    app = APP

    def __init__(self, client: Client) -> None:
        self.client = client
        self.requests: list[str] = []

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request below the app."""
        answer = self.client.request(method, f"{self.app}{path}", **options)
        assert answer.is_success, answer.text
        self.requests.append(answer.headers["x-request-id"])
        return answer

    @property
    def request(self) -> str:
        """The id of the last write."""
        return self.requests[-1]

    def create(self, entity: str, **values: Any) -> Row:
        return self.send("POST", f"/collections/{entity}", json=values).json()

    def create_many(self, entity: str, rows: Sequence[Row]) -> list[Row]:
        return self.send("POST", f"/collections/{entity}/bulk", json=rows).json()

    def update(self, entity: str, record_id: str, **values: Any) -> Row:
        return self.send("PATCH", f"/collections/{entity}/{record_id}", json=values).json()

    def delete(self, entity: str, record_id: str) -> None:
        self.send("DELETE", f"/collections/{entity}/{record_id}")

    def batch(self, *operations: Row) -> list[Row]:
        body = {"operations": operations}
        return self.send("POST", "/batch", json=body).json()["results"]

    def get(self, entity: str, record_id: str) -> Row | None:
        answer = self.client.get(f"{self.app}/collections/{entity}/{record_id}")
        return answer.json() if answer.is_success else None

    def all(self, entity: str) -> list[Row]:
        path = f"{self.app}/collections/{entity}?sort=id&order=asc&limit=1000"
        return self.client.get(path).json()

    def state(self) -> dict[str, list[Row]]:
        """Every record, but for when it was changed last."""
        return {
            entity: [{**row, "updated_at": None} for row in self.all(entity)]
            for entity in ("companies", "contacts", "orders")
        }

    def try_undo(self, **body: Any) -> httpx.Response:
        return self.client.post(f"{self.app}/undo", json=body)

    def undo(self, **body: Any) -> Row:
        answer = self.try_undo(**body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def installed(server: Server) -> Server:
    """A server with the app."""
    server.install(CRM)
    return server


@pytest.fixture
def crm(installed: Server) -> Crm:
    """The app as its admin works with it, without any record."""
    installed.sql("delete from crm.orders")
    installed.sql("delete from crm.contacts")
    installed.sql("delete from crm.companies")
    return Crm(installed.admin)
