"""The history of a record shows nothing that its reader could not have read of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from kernel.public import Action, Actor, Entity, Plugin, hookimpl
from kernel.testing import Client, Postgres, Server, running_server

APP = {
    "appId": "diary",
    "name": "Diary",
    "dataContract": [
        {
            "entityName": "pages",
            "fields": [
                {"name": "id", "type": "uuid", "is_primary_key": True},
                {"name": "title", "type": "text"},
                {"name": "tenant", "type": "text"},
                {"name": "mood", "type": "text", "access": {"read": "doctor", "write": "doctor"}},
            ],
        }
    ],
}
PAGES = "/api/v1/apps/diary/collections/pages"
OWN = ("pages.create", "pages.read.own", "pages.update.own", "pages.delete.own")


class TenantsPlugin(Plugin):
    """A user whose name begins with the name of a tenant reads the pages of that tenant."""

    name = "tenants"

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        """Narrow the pages of users with a tenant."""
        tenant, separator, _ = actor.username.partition("-")
        return {"$and": [{"tenant": tenant}, {"$not": {"tenant": None}}]} if separator else None


@pytest.fixture(scope="module")
def diary(postgres: Postgres) -> Any:
    plugins = {"tenants": {"module": f"{__name__}:TenantsPlugin"}}
    with running_server(postgres, {"plugins": plugins}) as running:
        running.install(APP)
        yield running


def owner(server: Server, name: str | None = None) -> Client:
    return server.user(name, permissions={"diary": list(OWN)})


def create(client: Client, page: str, **values: Any) -> None:
    answer = client.post(PAGES, json={"id": page, **values})
    assert answer.status_code == 201, answer.text


def change(client: Client, page: str, **values: Any) -> None:
    answer = client.patch(f"{PAGES}/{page}", json=values)
    assert answer.status_code == 200, answer.text


def delete(client: Client, page: str) -> None:
    assert client.delete(f"{PAGES}/{page}").status_code == 200


def history(client: Client, page: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{PAGES}/{page}/history", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def titles(entries: list[dict[str, Any]]) -> list[str]:
    """The titles that the entries gave to a page, the newest first."""
    return [entry["changes"]["title"][1] for entry in entries if "title" in entry["changes"]]


def test_the_id_of_a_deleted_record_has_no_history(diary: Server):
    page, alice, bob = str(uuid4()), owner(diary), owner(diary)
    create(alice, page, title="the secret of alice")
    change(alice, page, title="another secret")
    delete(alice, page)
    create(bob, page, title="of bob")
    change(bob, page, title="of bob still")
    for reader in (bob, diary.admin):
        entries = history(reader, page)
        assert titles(entries) == ["of bob still", "of bob"]
        assert {entry["actor"] for entry in entries} == {bob.id}
        oldest = entries[-1]
        assert oldest["operation"] == "INSERT"
        assert history(reader, page, before=oldest["id"]) == []
    query = {"app_id": "diary", "record_id": page}
    trail = diary.admin.get("/api/v1/audit", params=query)
    assert "the secret of alice" in trail.text


def test_a_record_that_was_created_while_nothing_was_recorded_has_no_earlier_history(diary: Server):
    page, alice, bob = str(uuid4()), owner(diary), owner(diary)
    create(alice, page, title="the secret of alice")
    diary.sql("alter table diary.pages disable trigger user")
    try:
        delete(alice, page)
        create(bob, page, title="of bob")
    finally:
        diary.sql("alter table diary.pages enable trigger user")
    change(bob, page, title="of bob still")
    assert titles(history(bob, page)) == ["of bob still"]


def test_a_change_of_unreadable_fields_leaves_no_entry(diary: Server):
    page = str(uuid4())
    reader = diary.user(permissions={"diary": ["pages.read"]})
    create(diary.admin, page, title="1", mood="good")
    change(diary.admin, page, mood="bad")
    change(diary.admin, page, title="2", mood="worse")
    for mood in ("a", "b", "c"):
        change(diary.admin, page, mood=mood)
    change(diary.admin, page, title="3")
    assert [entry["changes"] for entry in history(reader, page)] == [
        {"title": ["2", "3"]},
        {"title": ["1", "2"]},
        {"title": [None, "1"]},
    ]
    first = history(reader, page, limit=2)
    assert titles(first) == ["3", "2"]
    assert titles(history(reader, page, before=first[-1]["id"], limit=2)) == ["1"]
    assert len(history(diary.admin, page)) == 7


def test_a_creation_without_readable_values_is_an_entry(diary: Server):
    page = str(uuid4())
    reader = diary.user(permissions={"diary": ["pages.read"]})
    create(diary.admin, page, mood="good")
    [entry] = history(reader, page)
    assert (entry["operation"], entry["changes"]) == ("INSERT", {})


def test_the_time_of_another_owner_is_not_shown_to_who_reads_own_records_only(diary: Server):
    page, alice, bob = str(uuid4()), owner(diary), owner(diary)
    create(alice, page, title="the secret of alice")
    move = "update diary.pages set _owner = %s, title = %s where id = %s"
    diary.sql(move, bob.id, "handed over", page)
    assert history(bob, page) == []
    change(bob, page, title="of bob")
    assert titles(history(bob, page)) == ["of bob"]
    diary.sql(move, alice.id, "lent", page)
    change(alice, page, title="of alice again")
    diary.sql(move, bob.id, "returned", page)
    change(bob, page, title="of bob again")
    assert titles(history(bob, page)) == ["of bob again"]
    assert len(titles(history(diary.admin, page))) == 7


def test_an_owner_that_nothing_recorded_hides_what_was_before(diary: Server):
    page, alice, bob = str(uuid4()), owner(diary), owner(diary)
    create(alice, page, title="the secret of alice")
    diary.sql("alter table diary.pages disable trigger user")
    diary.sql("update diary.pages set _owner = %s where id = %s", bob.id, page)
    diary.sql("alter table diary.pages enable trigger user")
    assert history(bob, page) == []


def test_the_time_in_another_tenant_is_not_shown(diary: Server):
    page = str(uuid4())
    keys = {"diary": ["pages.read", "pages.update"]}
    red = diary.user(f"red-{uuid4().hex}", permissions=keys)
    blue = diary.user(f"blue-{uuid4().hex}", permissions=keys)
    create(diary.admin, page, title="the secret of red", tenant="red")
    change(red, page, title="another secret")
    assert titles(history(red, page)) == ["another secret", "the secret of red"]
    change(diary.admin, page, title="moved", tenant="blue")
    assert red.get(f"{PAGES}/{page}/history").status_code == 404
    assert history(blue, page) == []
    change(blue, page, title="of blue", tenant="blue")
    change(blue, page, title="of blue still")
    assert titles(history(blue, page)) == ["of blue still", "of blue"]
    assert len(history(diary.admin, page)) == 5


def test_no_history_has_more_than_its_readers_wrote(diary: Server):
    """Two users create, change and delete records of the same ids, in an order by chance."""
    chance = random.Random(42)
    users = [owner(diary), owner(diary)]
    pages = [str(uuid4()) for _ in range(3)]
    written: dict[str, tuple[Client, list[str]]] = {}
    for step in range(120):
        page, user = chance.choice(pages), chance.choice(users)
        title = f"step {step}"
        if page not in written:
            create(user, page, title=title)
            written[page] = (user, [title])
        elif chance.random() < 0.5:
            delete(written.pop(page)[0], page)
        else:
            writer, texts = written[page]
            change(writer, page, title=title)
            texts.insert(0, title)
        for reader in users:
            writer, texts = written.get(page, (None, []))
            answer = reader.get(f"{PAGES}/{page}/history")
            assert answer.status_code == (200 if reader is writer else 404)
            if reader is writer:
                assert titles(answer.json()) == texts
