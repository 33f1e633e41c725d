"""Generated fields and the words of a search: columns that PostgreSQL computes."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.apps.support import (
    changes,
    entity,
    field,
    fresh_id,
    install,
    kinds,
    manifest,
    refused,
)


@pytest.fixture
def admin(server: Server) -> Client:
    return server.admin


NAME = {"$concat": ["first", " ", "last"]}


def person(**more: Any) -> dict[str, Any]:
    fields = [field("first"), field("last"), field("fee", "number"), field("tip", "number")]
    return entity("people", *fields, *more.pop("fields", ()), **more)


def path(app_id: str) -> str:
    return f"/api/v1/apps/{app_id}/collections/people"


def test_generated_fields_are_computed(server: Server, admin: Client):
    app_id = fresh_id()
    fields = [
        field("name", generated=NAME),
        field("handle", generated={"$lower": NAME}),
        field("total", "number", generated={"$sum": ["fee", "tip", 0.5]}),
        field("any", generated={"$coalesce": ["last", "first", "-"]}),
    ]
    wanted = manifest(app_id, person(fields=fields, indexes=[{"columns": ["name"]}]))
    install(admin, wanted)
    made = admin.post(path(app_id), json={"first": "Ada", "fee": 1}).json()
    shown = {name: made[name] for name in ("name", "handle", "total", "any")}
    assert shown == {"name": "Ada ", "handle": "ada ", "total": 1.5, "any": "Ada"}
    none = admin.post(path(app_id), json={"tip": None}).json()
    assert (none["name"], none["any"]) == (" ", "-")
    changed = admin.patch(f"{path(app_id)}/{made['id']}", json={"last": "Byron"}).json()
    assert changed["name"] == "Ada Byron"
    found = admin.get(path(app_id), params={"name": "Ada Byron", "sort": "total", "limit": 5})
    assert [each["id"] for each in found.json()] == [made["id"]]
    answer = admin.post(path(app_id), json={"name": "x"})
    assert answer.status_code == 400
    assert "people.name is generated" in answer.json()["error"]


def test_a_sum_of_nothing_is_null(server: Server, admin: Client):
    app_id = fresh_id()
    total = field("total", "number", generated={"$sum": ["fee", "tip"]})
    install(admin, manifest(app_id, person(fields=[total])))
    assert admin.post(path(app_id), json={"first": "x"}).json()["total"] is None
    assert admin.post(path(app_id), json={"fee": 2}).json()["total"] == 2


def test_expressions_change_come_and_go(server: Server, admin: Client):
    app_id = fresh_id()
    plain = manifest(app_id, person())
    install(admin, plain)
    made = admin.post(path(app_id), json={"first": "Ada", "last": "B", "fee": 4}).json()
    url = f"{path(app_id)}/{made['id']}"
    first = manifest(
        app_id, person(fields=[field("name", generated=NAME)], indexes=[{"columns": ["name"]}])
    )
    assert ("people", "add_column", "name") in kinds(admin, first)
    install(admin, first)
    assert admin.get(url).json()["name"] == "Ada B"
    second = manifest(
        app_id,
        person(
            fields=[field("name", generated={"$concat": ["last", ", ", "first"]})],
            indexes=[{"columns": ["name"]}],
        ),
    )
    assert kinds(admin, second) == [("people", "alter_expression", "name")]
    install(admin, second)
    assert admin.get(url).json()["name"] == "B, Ada"
    install(admin, plain)
    assert "name" not in admin.get(url).json()
    install(admin, first)
    assert admin.get(url).json()["name"] == "Ada B"
    ordinary = manifest(app_id, person(fields=[field("name")]))
    assert ("people", "drop_expression", "name") in kinds(admin, ordinary)
    install(admin, ordinary)
    assert admin.patch(url, json={"name": "own"}).json()["name"] == "own"
    assert "1 row has a value in it, and it becomes generated" in refused(admin, first)
    assert admin.get(url).json()["name"] == "own"


def test_a_source_may_change_its_type(server: Server, admin: Client):
    app_id = fresh_id()
    total = field("total", "number", generated={"$sum": ["fee"]})
    install(admin, manifest(app_id, person(fields=[total, field("name", generated=NAME)])))
    made = admin.post(path(app_id), json={"first": "Ada", "fee": 4}).json()
    changed = person(fields=[field("name", generated=NAME)])
    changed["fields"][2] = field("fee")
    install(admin, manifest(app_id, changed))
    found = admin.get(f"{path(app_id)}/{made['id']}").json()
    assert (found["fee"], found["name"]) == ("4", "Ada ")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (field("x", generated={"$concat": ["nothing"]}), "there is no field 'nothing'"),
        (field("x", generated={"$concat": ["fee"]}), "$concat takes text only"),
        (field("x", generated={"$concat": []}), "takes a list of 1 to 20 items"),
        (field("x", generated={"$upper": "first"}), "must be an object with one of"),
        (field("x", generated="first"), "must be an object with one of"),
        (field("x", "number", generated=NAME), "makes text, and the field is of type number"),
        (field("x", generated={"$coalesce": ["first", 1]}), "one simple type"),
        (field("x", generated={"$concat": [None]}), "a field or a value is wanted"),
        (field("x", generated=NAME, required=True), "is not for a generated field"),
        (field("x", generated=NAME, default_value="a"), "is not for a generated field"),
        (field("x", generated={"$lower": {"$lower": {"$lower": {"$lower": {"$lower": "first"}}}}}),
         "nested more than 4 deep"),
        (field("x", access={"read": 5}), "must be the name of a role"),
        (field("x", access={"red": "hr"}), "known are read, write"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_field_is_named(
    server: Server, admin: Client, wanted: dict[str, Any], said: str
):
    assert said in refused(admin, manifest(fresh_id(), person(fields=[wanted])))


def test_a_generated_field_is_made_of_others_only(server: Server, admin: Client):
    fields = [field("x", generated=NAME), field("y", generated={"$lower": "x"})]
    said = refused(admin, manifest(fresh_id(), person(fields=fields)))
    assert "there is no field 'x' that is not generated itself" in said


def test_words_of_a_search_come_and_go(server: Server, admin: Client):
    app_id = fresh_id()
    name = field("name", generated=NAME)
    search = {"fields": [{"name": "name", "weight": "A"}, "last"], "language": "english"}
    first = manifest(app_id, person(fields=[name], search=search))
    install(admin, first)
    made = admin.post(path(app_id), json={"first": "Running", "last": "Café"}).json()
    assert list(made) == [
        "id", "first", "last", "fee", "tip", "name", "created_at", "updated_at",
    ]  # fmt: skip
    [(words,)] = server.sql(f"select _search::text from {app_id}.people")
    assert "'run':1A" in words
    assert "'cafe'" in words
    row = admin.get("/api/v1/audit", params={"app_id": app_id, "entity": "people"}).json()[0]
    assert "_search" not in row["new_record"]
    second = manifest(app_id, person(fields=[name], search={"fields": ["last"]}))
    assert changes(admin, second) != []
    install(admin, second)
    assert server.sql(f"select _search::text from {app_id}.people") == [("'cafe':1",)]
    install(admin, manifest(app_id, person(fields=[name])))
    query = "select count(*) from pg_attribute where attname = '_search' and not attisdropped"
    assert server.sql(f"{query} and attrelid = '{app_id}.people'::regclass") == [(0,)]


def test_fields_with_other_rights_have_words_of_their_own(server: Server, admin: Client):
    app_id = fresh_id()
    secret = field("secret", access={"read": "hr"})
    wanted = manifest(app_id, person(fields=[secret], search={"fields": ["first", "secret"]}))
    install(admin, wanted)
    admin.post(path(app_id), json={"first": "a", "secret": "b"})
    [words] = server.sql(f"select _search::text, _search_1::text from {app_id}.people")
    assert words == ("'a':1", "'b':1")


def test_long_texts_are_searched_as_far_as_postgresql_can(server: Server, admin: Client):
    app_id = fresh_id()
    install(admin, manifest(app_id, person(search={"fields": ["first", "last"]})))
    words = " ".join(f"wörd{number}" for number in range(300_000))
    assert admin.post(path(app_id), json={"first": words, "last": words}).status_code == 201


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"fields": ["nothing"]}, "there is no field 'nothing'"),
        ({"fields": ["fee"]}, "only fields of type text"),
        ({"fields": []}, "must name at least one field"),
        ({"fields": ["first", "first"]}, "named twice"),
        ({"fields": [{"name": "first", "weight": "E"}]}, "weight must be one of"),
        ({"fields": ["first"], "language": "klingon"}, "language: must be one of"),
    ],
)
def test_what_is_wrong_with_a_search_is_named(
    server: Server, admin: Client, search: dict[str, Any], said: str
):
    assert said in refused(admin, manifest(fresh_id(), person(search=search)))
