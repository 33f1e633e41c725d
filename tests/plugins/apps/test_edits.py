"""Manifests that are changed in small steps, planned, and taken back."""

from __future__ import annotations

import pytest

from plugins.apps.schema import checks

from .support import entity, field, fresh_id, install, link, manifest


@pytest.fixture
def app(server) -> str:
    """A shop: two tables with a link, an index and a search."""
    app_id = fresh_id()
    wanted = manifest(
        app_id,
        entity("companies", field("title"), description="Whom we sell to."),
        entity(
            "contacts",
            field("mail"),
            field("age"),
            link("company_id", "companies"),
            indexes=[{"columns": ["mail"], "unique": True}, {"columns": ["age", "mail"]}],
            search={"fields": ["mail", {"name": "age", "weight": "A"}]},
        ),
    )
    install(server.admin, wanted)
    return app_id


def path_of(app, action="manifest/edit"):
    return f"/api/v1/apps/{app}/{action}"


def send(client, app, *operations, match=None, status=200, **more):
    """Send operations with the present entity tag, or another one."""
    etag = match or client.get(path_of(app, "manifest")).headers["etag"]
    body = {"operations": list(operations), **more}
    answer = client.post(path_of(app), json=body, headers={"if-match": etag})
    assert answer.status_code == status, answer.text
    return answer


def shapes(answer):
    return [(c["entity"], c["change_type"], c["column"]) for c in answer.json()["changes"]]


def entities(client, app):
    shown = client.get(path_of(app, "manifest")).json()
    return {part["entityName"]: part for part in shown["dataContract"]}


def test_a_column_is_planned_and_then_made(server, app):
    server.sql(f"insert into {app}.contacts (mail) values ('a'), ('b')")
    step = {"op": "add_field", "entity": "contacts", "field": field("phone"), "index": 1}
    planned = send(server.admin, app, step, dryRun=True)
    assert planned.json()["changes"] == [
        {"entity": "contacts", "change_type": "add_column", "column": "phone", "detail": "text",
         "rows": 2},
    ]  # fmt: skip
    assert "phone" not in server.admin.get(path_of(app, "manifest")).text
    done = send(server.admin, app, step)
    assert done.json()["changes"] == planned.json()["changes"]
    assert done.json()["manifest"] == planned.json()["manifest"]
    names = [part["name"] for part in entities(server.admin, app)["contacts"]["fields"]]
    assert names == ["mail", "phone", "age", "company_id"]
    assert done.headers["etag"] == server.admin.get(path_of(app, "manifest")).headers["etag"]
    assert entities(server.admin, app)["companies"]["description"] == "Whom we sell to."


def test_indexes_with_objects_follow_names(server):
    app = fresh_id()
    columns = ["mail", {"column": "age", "sort": "desc"}]
    of_expression = {"columns": [{"expr": "lower(mail)"}], "unique": True}
    contacts = entity(
        "contacts", field("mail"), field("age"), indexes=[{"columns": columns}, of_expression]
    )
    wanted = manifest(app, contacts)
    answer = server.admin.post("/api/v1/apps/schema/verify", json=wanted)
    place = "dataContract[0].indexes"
    ignored = [f"{place}[0].columns[1].sort", f"{place}[1]"]
    assert sorted(answer.json()["ignored"]) == ignored
    answer = server.admin.post("/api/v1/apps", json=wanted)
    assert answer.status_code == 200, answer.text
    assert sorted(answer.json()["ignored"]) == ignored

    send(
        server.admin,
        app,
        {"op": "rename_field", "entity": "contacts", "field": "age", "name": "years"},
    )
    indexes = entities(server.admin, app)["contacts"]["indexes"]
    assert indexes[0]["columns"] == ["mail", {"column": "years", "sort": "desc"}]
    assert indexes[1] == of_expression
    send(server.admin, app, {"op": "remove_field", "entity": "contacts", "field": "years"})
    assert entities(server.admin, app)["contacts"]["indexes"] == [of_expression]


def test_every_operation_changes_the_manifest_and_the_tables(server, app):
    server.sql(f"insert into {app}.contacts (mail, age) values ('a', '7')")
    done = send(
        server.admin,
        app,
        {"op": "rename_field", "entity": "contacts", "field": "mail", "name": "email"},
        {"op": "rename_entity", "entity": "contacts", "name": "people"},
        {"op": "rename_entity", "entity": "companies", "name": "firms"},
        {"op": "change_field", "entity": "people", "field": "age", "set": {"required": True}},
        {"op": "move_field", "entity": "people", "field": "age", "index": 0},
        {"op": "add_entity", "entity": entity("notes", field("text"), link("person", "people"))},
        {"op": "change_entity", "entity": "notes", "set": {"indexes": [{"columns": ["text"]}]}},
        {"op": "set", "key": "description", "value": "All of it"},
    )
    assert shapes(done) == [
        ("firms", "rename_table", None),
        ("people", "rename_table", None),
        ("people", "rename_column", "email"),
        ("people", "set_not_null", "age"),
        ("notes", "create_table", None),
    ]
    people = entities(server.admin, app)["people"]
    assert people["was"] == ["contacts"]
    assert [part["name"] for part in people["fields"]] == ["age", "email", "company_id"]
    assert people["fields"][2]["references"] == {"entity": "firms"}
    assert people["indexes"] == [
        {"columns": ["email"], "unique": True},
        {"columns": ["age", "email"]},
    ]
    assert people["search"]["fields"] == ["email", {"name": "age", "weight": "A"}]
    assert server.sql(f"select email, age from {app}.people") == [("a", "7")]

    done = send(
        server.admin,
        app,
        {"op": "remove_field", "entity": "people", "field": "email"},
        {"op": "remove_entity", "entity": "notes"},
        {"op": "set", "key": "description", "value": None},
    )
    people = entities(server.admin, app)["people"]
    assert "indexes" not in people or people["indexes"] == []
    assert people["search"]["fields"] == [{"name": "age", "weight": "A"}]
    warnings = done.json()["warnings"]
    assert any(
        text.startswith("people.email is hidden and keeps what its 1 rows") for text in warnings
    )
    assert any(text.startswith("notes is hidden") for text in warnings)
    assert server.sql(f"select email from {app}.people") == [("a",)]


def test_one_of_two_people_at_once_is_refused(server, app):
    etag = server.admin.get(path_of(app, "manifest")).headers["etag"]
    add = {"op": "add_field", "entity": "companies", "field": field("size")}
    send(server.admin, app, add, match=etag)
    late = send(server.admin, app, add | {"field": field("city")}, match=etag, status=412)
    present = server.admin.get(path_of(app, "manifest"))
    assert late.json()["etag"] == present.headers["etag"]
    assert late.json()["manifest"] == present.json()
    assert "has changed" in late.json()["error"]
    without = server.admin.post(path_of(app), json={"operations": [add]})
    assert without.status_code == 400
    assert without.json()["error"].startswith("If-Match: is needed")
    send(server.admin, app, add | {"field": field("city")}, match="*")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ({"op": "add_field", "entity": "nope", "field": field("a")},
         "operations[0].entity: the manifest has no entity 'nope'"),
        ({"op": "add_field", "entity": "contacts", "field": field("mail")},
         "operations[0].field.name: the entity has a field 'mail' already"),
        ({"op": "add_field", "entity": "contacts", "field": field("xmin")},
         "dataContract[1].fields[3].name: 'xmin' is a column of the database itself"),
        ({"op": "add_field", "entity": "contacts", "field": {"name": "a", "type": "money"}},
         "dataContract[1].fields[3].type: unknown type 'money'"),
        ({"op": "rename_field", "entity": "contacts", "field": "mail", "name": "Select *"},
         "dataContract[1].fields[0].name: 'Select *' is no name"),
        ({"op": "rename_field", "entity": "contacts", "field": "gone", "name": "a"},
         "operations[0].field: 'contacts' has no field 'gone'"),
        ({"op": "rename_entity", "entity": "contacts", "name": "companies"},
         "operations[0].name: the manifest has an entity 'companies' already"),
        ({"op": "remove_entity", "entity": "companies"},
         "operations[0].entity: contacts.company_id link to 'companies'; remove these first"),
        ({"op": "set", "key": "appId", "value": "other"},
         "operations[0].key: 'appId' is not changed by set"),
        ({"op": "set", "key": "name", "value": 7}, "name: must be text"),
        ({"op": "change_field", "entity": "companies", "field": "title", "set": {"type": "number"}},
         'companies.title: 1 value does not convert from text to number ("old")'),
        ({"op": "change_field", "entity": "contacts", "field": "age", "set": {"required": True}},
         "contacts.age: 1 row has no value in it"),
        ({"op": "add_field", "entity": "contacts", "field": field("a", required=True)},
         "contacts.a: 2 rows need a value and the field has no default_value"),
        ({"op": "paint"}, "operations[0].op: invalid value 'paint'"),
        ({"op": "move_field", "entity": "contacts", "field": "age"}, "index"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dry", [True, False])
def test_what_cannot_be_is_refused_with_its_path(server, app, operation, error, dry):
    server.sql(f"insert into {app}.contacts (mail, age) values ('a', 'old'), ('b', null)")
    server.sql(f"insert into {app}.companies (title) values ('old')")
    before = server.admin.get(path_of(app, "manifest"))
    refusal = send(server.admin, app, operation, status=400, dryRun=dry)
    assert error in refusal.json()["error"]
    assert server.admin.get(path_of(app, "manifest")).headers["etag"] == before.headers["etag"]


def test_there_are_at_most_500_columns(server, app):
    many = [
        {"op": "add_field", "entity": "companies", "field": field(f"f{number}")}
        for number in range(200)
    ]
    send(server.admin, app, *many)
    more = [step | {"field": field(step["field"]["name"] + "b")} for step in many]
    send(server.admin, app, *more)
    rest = [step | {"field": field(step["field"]["name"] + "c")} for step in many[:100]]
    refusal = send(server.admin, app, *rest, status=400)
    assert refusal.json()["error"] == (
        "dataContract[0].fields: has 501 items, at most 500 are allowed"
    )


def test_only_admins_of_the_app_edit(server, app):
    clerk = server.user(permissions={app: ["contacts.update"]})
    body = {"operations": [{"op": "set", "key": "name", "value": "x"}]}
    answer = clerk.post(path_of(app), json=body, headers={"if-match": "*"})
    assert answer.status_code == 403
    assert clerk.get(path_of(app, "manifest/history")).status_code == 403
    head = server.user(roles={app: ["admin"]})
    assert head.post(path_of(app), json=body, headers={"if-match": "*"}).status_code == 200


def test_the_history_says_who_changed_what_and_how(server, app):
    send(server.admin, app, {"op": "add_field", "entity": "companies", "field": field("size")})
    newest, first = server.admin.get(path_of(app, "manifest/history")).json()
    assert (newest["via"], newest["by"]) == ("edit", server.admin.id)
    assert [(c["change_type"], c["column"]) for c in newest["changes"]] == [("add_column", "size")]
    assert first["via"] == "install"
    assert first["changes"][0]["change_type"] == "create_schema"
    assert newest["stamp"] > first["stamp"]


def test_a_step_is_taken_back_with_the_data(server, app):
    server.sql(f"insert into {app}.contacts (mail) values ('a')")
    first = server.admin.get(path_of(app, "manifest")).json()
    send(
        server.admin,
        app,
        {"op": "rename_field", "entity": "contacts", "field": "mail", "name": "m1"},
    )
    send(server.admin, app, {"op": "rename_entity", "entity": "contacts", "name": "people"})
    send(
        server.admin,
        app,
        {"op": "rename_field", "entity": "people", "field": "m1", "name": "email"},
    )
    send(server.admin, app, {"op": "add_field", "entity": "people", "field": field("phone")})
    oldest = server.admin.get(path_of(app, "manifest/history")).json()[-1]["stamp"]

    match = {"if-match": "*"}
    body = {"to": oldest, "dryRun": True}
    planned = server.admin.post(path_of(app, "manifest/undo"), json=body, headers=match)
    assert shapes(planned) == [
        ("contacts", "rename_table", None),
        ("contacts", "rename_column", "mail"),
        ("contacts", "retire_column", "phone"),
    ]
    body = {"to": oldest}
    done = server.admin.post(path_of(app, "manifest/undo"), json=body, headers=match)
    assert done.status_code == 200, done.text
    assert server.sql(f"select mail from {app}.contacts") == [("a",)]
    restored = server.admin.get(path_of(app, "manifest")).json()
    del restored["dataContract"][1]["was"], restored["dataContract"][1]["fields"][0]["was"]
    assert restored == first

    # Without a stamp it is the step before: the undo itself.
    again = server.admin.post(path_of(app, "manifest/undo"), json={}, headers=match)
    assert again.status_code == 200, again.text
    assert server.sql(f"select email, phone from {app}.people") == [("a", None)]
    assert server.admin.get(path_of(app, "manifest/history")).json()[0]["via"] == "undo"
    unknown = server.admin.post(path_of(app, "manifest/undo"), json={"to": 1}, headers=match)
    assert unknown.status_code == 404


def test_an_app_without_a_former_manifest_has_nothing_to_undo(server, app):
    answer = server.admin.post(path_of(app, "manifest/undo"), json={}, headers={"if-match": "*"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "to: there is no manifest before the present one"


def test_an_app_from_a_folder_is_edited_once_an_admin_says_so(server, app):
    shown = server.admin.get(path_of(app, "manifest")).json()
    step = {"op": "add_field", "entity": "companies", "field": field("size")}
    assert "managedBy" not in server.admin.get(path_of(app, "")[:-1]).json()
    assert server.admin.post("/api/v1/apps?source=files", json=shown).status_code == 200
    assert server.admin.get(path_of(app, "")[:-1]).json()["managedBy"] == "files"
    refusal = send(server.admin, app, step, status=409)
    assert "caudex app deploy" in refusal.json()["error"]
    undo = server.admin.post(path_of(app, "manifest/undo"), json={}, headers={"if-match": "*"})
    assert undo.status_code == 409
    here = server.admin.put(path_of(app, "manifest/source"), json={"managedBy": None})
    assert here.status_code == 200
    send(server.admin, app, step)
    # The next deploy says again where it comes from; a plain install says nothing.
    assert server.admin.post("/api/v1/apps?source=files", json=shown).status_code == 200
    assert server.admin.post("/api/v1/apps", json=shown).status_code == 200
    send(server.admin, app, step, status=409)
    odd = server.admin.post("/api/v1/apps?source=moon", json=shown)
    assert odd.status_code == 400


def test_a_refusal_names_the_rows_that_must_be_corrected(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("contacts", field("mail"), field("age"))))
    server.sql(
        f"insert into {app}.contacts (mail, age) "
        "select 'm' || n, case when n % 2 = 0 then 'old' end from generate_series(1, 60) as n"
    )
    ids = server.sql(f"select id::text, age from {app}.contacts order by id")
    of_words = [row_id for row_id, age in ids if age == "old"]
    without = [row_id for row_id, age in ids if age is None]

    def rows(*operations, dry=True):
        refusal = send(server.admin, app, *operations, status=400, dryRun=dry)
        return refusal.json()["rows"]

    to_number = {"op": "change_field", "entity": "contacts", "field": "age"}
    for dry in (True, False):
        assert rows(to_number | {"set": {"type": "number"}}, dry=dry) == [
            {"entity": "contacts", "field": "age", "count": 30, "ids": of_words[:20]}
        ]
    assert rows(to_number | {"set": {"required": True}}) == [
        {"entity": "contacts", "field": "age", "count": 30, "ids": without[:20]}
    ]
    added = {"op": "add_field", "entity": "contacts", "field": field("a", required=True)}
    (missing,) = rows(added)
    assert (missing["field"], missing["count"], len(missing["ids"])) == ("a", 60, 20)
    unique = [{"columns": ["age"], "unique": True}]
    (shared,) = rows({"op": "change_entity", "entity": "contacts", "set": {"indexes": unique}})
    assert (shared["field"], shared["count"]) == ("age", 1)
    assert shared["ids"] == of_words[:20]
    choices = to_number | {"set": {"enum_values": ["new"]}}
    assert rows(choices)[0]["ids"] == of_words[:20]


TO_NUMBER = {
    "op": "change_field",
    "entity": "companies",
    "field": "title",
    "set": {"type": "number"},
}
A_PART = "companies.title: a part of its many values was tried, and each of them converts"


def fill(server, app, *titles):
    server.sql(f"truncate {app}.companies cascade")
    for title in titles:
        server.sql(f"insert into {app}.companies (title) values (%s)", title)


def warnings_of(answer):
    return [warning.partition(";")[0] for warning in answer.json()["warnings"]]


def test_a_plan_tries_no_more_values_than_it_has_time_for(server, app, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TRIED", 3)
    fill(server, app, "1e1", "x", "y", "z", "1")
    planned = send(server.admin, app, TO_NUMBER, dryRun=True, status=400).json()
    assert planned["error"].startswith(
        "companies.title: at least 2 values do not convert from text to number ("
    )
    [rows] = planned["rows"]
    assert (rows["entity"], rows["field"], rows["count"]) == ("companies", "title", 2)
    assert len(rows["ids"]) == 2
    installed = send(server.admin, app, TO_NUMBER, status=400).json()
    assert installed["error"].startswith("companies.title: 3 values do not convert")


def test_a_plan_says_that_it_has_not_tried_all_values(server, app, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TRIED", 3)
    fill(server, app, "1e1", "1e2", "1e3", "x")
    planned = send(server.admin, app, TO_NUMBER, dryRun=True)
    assert A_PART in warnings_of(planned)
    assert "rows are written again" in planned.json()["warnings"][0]
    said = send(server.admin, app, TO_NUMBER, status=400).json()["error"]
    assert said == 'companies.title: 1 value does not convert from text to number ("x")'


def test_values_that_convert_for_certain_are_not_tried(server, app, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TRIED", 3)
    fill(server, app, "1", "-2", "0.5", "1e1", "1e2", "123456789012345", "0")
    planned = send(server.admin, app, TO_NUMBER, dryRun=True)
    assert A_PART not in warnings_of(planned)
    fill(server, app, "1", "2", "3", "4", "x")
    planned = send(server.admin, app, TO_NUMBER, dryRun=True, status=400).json()
    assert planned["error"] == 'companies.title: 1 value does not convert from text to number ("x")'


def test_a_plan_reads_no_more_rows_than_it_has_time_for(server, app, monkeypatch):
    monkeypatch.setattr(checks, "MAX_READ", 2)
    fill(server, app, "1", "2", "x")
    assert A_PART in warnings_of(send(server.admin, app, TO_NUMBER, dryRun=True))
    send(server.admin, app, TO_NUMBER, status=400)
    fill(server, app, "1", "2")
    assert A_PART not in warnings_of(send(server.admin, app, TO_NUMBER, dryRun=True))
