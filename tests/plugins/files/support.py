"""An app with files, and what its tests do with it."""

import uuid

from kernel.public import STORAGE, Plugin, Unavailable, hookimpl, provide

APP = "/api/v1/apps/desk"
FILES = f"{APP}/files"
TICKETS = f"{APP}/collections/tickets"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"


def field(name, kind="file", **more):
    return {"name": name, "type": kind, **more}


def manifest(*fields):
    tickets = {"entityName": "tickets", "fields": [field("title", "text"), *fields]}
    return {"appId": "desk", "name": "Desk", "dataContract": [tickets]}


CONTRACT = field("contract", maxSize="20MB")
SCANS = field("scans", "[file]", maxSize="20MB")


def upload(client, content=PDF, name="a.pdf"):
    answer = client.post(FILES, params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


def create(client, **values):
    answer = client.post(TICKETS, json={"title": f"T{uuid.uuid4()}", **values})
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


class BrokenStore(Plugin):
    """Is between the plugin and its store, and fails as a disk or a network does."""

    name = "broken_store"
    problem = ""

    @hookimpl
    def provide_services(self):
        return [provide(STORAGE, lambda services, store: _Store(store), over=True)]


class _Store:
    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        if BrokenStore.problem:
            raise Unavailable(BrokenStore.problem)
        return getattr(self._store, name)

    async def write_blob(self, pieces, limit):
        if BrokenStore.problem:
            async for _ in pieces:
                raise Unavailable(BrokenStore.problem)
        return await self._store.write_blob(pieces, limit)
