"""Entities and fields that get another name keep rows, indexes, links, rights and trail."""

from __future__ import annotations

import pytest

from .support import changes, entity, field, fresh_id, install, kinds, link, manifest, refused


@pytest.fixture
def app() -> str:
    return fresh_id()


def people(app, *, table="people", column="email"):
    """An app whose names are given; with everything that depends on them."""
    return manifest(
        app,
        entity("companies", field("title")),
        entity(
            table,
            field(column, enum_values=["a@x.org", "b@x.org"], access={"read": "hr"}),
            field("note"),
            field("shown", generated={"$concat": [column, "!"]}),
            link("company_id", "companies"),
            link("chief_id", table),
            indexes=[{"columns": [column], "unique": True}, {"columns": ["note", column]}],
            search={"fields": [{"name": column, "weight": "A"}, "note"], "language": "english"},
        ),
        entity("tasks", link("person_id", table, required=True)),
    )


def names_of_rules(server, app):
    """The oids of tables, indexes and constraints: what is made again has another one."""
    rows = server.sql(
        "select c.oid from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relkind in ('r', 'i') union all"
        " select c.oid from pg_constraint as c join pg_namespace as n on n.oid = c.connamespace"
        " where n.nspname = %s and c.contype in ('c', 'f', 'p', 'u')",
        app,
        app,
    )
    return {oid for (oid,) in rows}


def test_a_column_keeps_its_values_and_nothing_is_made_again(server, app):
    install(server.admin, people(app, column="mail"))
    server.sql(f"insert into {app}.people (mail, note) values ('a@x.org', 'one')")
    before = names_of_rules(server, app)
    renamed = people(app, column="email")
    renamed["dataContract"][1]["fields"][0]["was"] = ["mail"]
    (change,) = changes(server.admin, renamed)
    assert change == {
        "entity": "people",
        "change_type": "rename_column",
        "column": "email",
        "detail": "from mail",
        "rows": 1,
    }
    install(server.admin, renamed)
    assert server.sql(f"select email, shown from {app}.people") == [("a@x.org", "a@x.org!")]
    assert names_of_rules(server, app) == before
    found = server.admin.post(
        f"/api/v1/apps/{app}/collections/people/query", json={"search": "one"}
    )
    assert [row["email"] for row in found.json()["data"]] == ["a@x.org"]
    refusal = server.admin.post(f"/api/v1/apps/{app}/collections/people", json={"email": "a@x.org"})
    assert refusal.status_code == 400
    assert "email" in refusal.json()["error"]


def test_a_table_keeps_its_rows_links_and_rules(server, app):
    install(server.admin, people(app, table="contacts"))
    server.sql(
        f"with c as (insert into {app}.contacts (email) values ('a@x.org') returning id)"
        f" insert into {app}.tasks (person_id) select id from c"
    )
    before = names_of_rules(server, app)
    renamed = people(app, table="people")
    renamed["dataContract"][1]["was"] = "contacts"
    assert kinds(server.admin, renamed) == [("people", "rename_table", None)]
    install(server.admin, renamed)
    assert names_of_rules(server, app) == before
    tasks = server.admin.get(f"/api/v1/apps/{app}/collections/tasks?expand=person_id").json()
    assert tasks[0]["expand"]["person_id"]["email"] == "a@x.org"
    assert server.admin.get(f"/api/v1/apps/{app}/collections/contacts").status_code == 404
    person = tasks[0]["person_id"]
    deletion = server.admin.delete(f"/api/v1/apps/{app}/collections/people/{person}")
    assert deletion.status_code == 400
    assert "tasks" in deletion.json()["error"]


def test_table_and_column_change_their_names_in_one_install(server, app):
    install(server.admin, people(app, table="contacts", column="mail"))
    server.sql(f"insert into {app}.contacts (mail) values ('b@x.org')")
    renamed = people(app, table="people", column="email")
    renamed["dataContract"][1]["was"] = ["contacts", "clients"]
    renamed["dataContract"][1]["fields"][0]["was"] = "mail"
    found = kinds(server.admin, renamed)
    assert found == [("people", "rename_table", None), ("people", "rename_column", "email")]
    install(server.admin, renamed)
    assert server.sql(f"select email from {app}.people") == [("b@x.org",)]
    # Installed once more with a name back, and with another change beside it.
    back = people(app, table="contacts", column="email")
    back["dataContract"][1]["was"] = "people"
    back["dataContract"][1]["fields"].append(field("phone"))
    install(server.admin, back)
    assert server.sql(f"select email, phone from {app}.contacts") == [("b@x.org", None)]


def test_a_rename_may_change_the_type_as_well(server, app):
    install(server.admin, manifest(app, entity("things", field("size"), field("other"))))
    server.sql(f"insert into {app}.things (size) values ('12')")
    renamed = manifest(app, entity("things", field("weight", "number", was="size")))
    assert kinds(server.admin, renamed) == [
        ("things", "rename_column", "weight"),
        ("things", "alter_type", "weight"),
        ("things", "retire_column", "other"),
    ]
    install(server.admin, renamed)
    assert server.sql(f"select weight from {app}.things") == [(12.0,)]


def test_a_former_name_that_fits_nothing_is_ignored(server, app):
    wanted = manifest(app, entity("things", field("a", was=["x", "y"]), was="stuff"))
    assert "ignored" not in install(server.admin, wanted)
    # What is there already takes nothing over, and a name that is declared stays what it is.
    wanted = manifest(app, entity("things", field("a", was=["b"]), field("b")))
    install(server.admin, wanted)
    wanted = manifest(app, entity("things", field("a"), field("b"), field("c", was="b")))
    assert kinds(server.admin, wanted) == [("things", "add_column", "c")]


def test_a_former_name_that_fits_two_is_refused(server, app):
    install(server.admin, manifest(app, entity("things", field("a"), field("b"))))
    both = manifest(app, entity("things", field("c", was=["a", "b"])))
    assert refused(server.admin, both) == (
        "things.c: was: 'a' and 'b' both exist; name the one that is renamed"
    )
    twice = manifest(app, entity("things", field("c", was="a"), field("d", was="a")))
    assert refused(server.admin, twice) == "things.d: was: 'a' is taken over twice"
    bad = manifest(app, entity("things", field("c", was=[1])))
    assert refused(server.admin, bad).startswith("dataContract[0].fields[0].was: must be")


def test_a_retired_name_is_not_taken_from_its_values(server, app):
    install(server.admin, manifest(app, entity("things", field("a"), field("b"))))
    install(server.admin, manifest(app, entity("things", field("b"))))
    taken = manifest(app, entity("things", field("a", was="b")))
    assert "prune it" in refused(server.admin, taken)
    # A retired one may come back under another name.
    server.sql(f"insert into {app}.things (a) values ('kept')")
    install(server.admin, manifest(app, entity("things", field("c", was="a"), field("b"))))
    assert server.sql(f"select c from {app}.things") == [("kept",)]


def test_roles_keys_and_views_follow(server, app):
    install(server.admin, people(app, table="contacts", column="mail"))
    keys = ["contacts.read.own", "contacts.*", "contacts.mail.read", "tasks.read"]
    role = {"name": "hr", "permissions": keys}
    assert server.admin.post(f"/api/v1/apps/{app}/roles", json=role).status_code == 200
    own_key = server.admin.post(
        "/api/v1/auth/keys", json={"name": "k", "permissions": [f"{app}:contacts.mail.read"]}
    )
    assert own_key.status_code == 201, own_key.text
    view = {
        "app": app,
        "entity": "contacts",
        "name": "mine",
        "state": {
            "where": '{"$or":[{"mail":{"$eq":"a@x.org"}},{"chief_id":{"$has":{"mail":"b"}}}]}',
            "columns": "mail,note",
            "sort": "mail",
        },
    }
    assert server.admin.post("/api/v1/console/views", json=view).status_code == 201
    other = view | {"entity": "tasks", "state": {"where": '{"person_id":{"$has":{"mail":"b"}}}'}}
    assert server.admin.post("/api/v1/console/views", json=other).status_code == 201
    columns = {f"columns:{app}.contacts": ["mail", "note"]}
    assert server.admin.patch("/api/v1/console/settings", json=columns).status_code == 200

    renamed = people(app, table="people", column="email")
    renamed["dataContract"][1]["was"] = "contacts"
    renamed["dataContract"][1]["fields"][0]["was"] = "mail"
    install(server.admin, renamed)

    roles = {role["name"]: role for role in server.admin.get(f"/api/v1/apps/{app}/roles").json()}
    assert roles["hr"]["permissions"] == [
        "people.read.own", "people.*", "people.email.read", "tasks.read",
    ]  # fmt: skip
    listed = server.admin.get("/api/v1/auth/keys").json()
    assert [f"{app}:people.email.read"] in [key["permissions"] for key in listed]
    (shown,) = server.admin.get(f"/api/v1/console/views?app={app}&entity=people").json()
    assert shown["state"] == {
        "where": '{"$or":[{"email":{"$eq":"a@x.org"}},{"chief_id":{"$has":{"email":"b"}}}]}',
        "columns": "email,note",
        "sort": "email",
    }
    (shown,) = server.admin.get(f"/api/v1/console/views?app={app}&entity=tasks").json()
    assert shown["state"] == {"where": '{"person_id":{"$has":{"email":"b"}}}'}
    settings = server.admin.get("/api/v1/console/settings").json()
    assert settings[f"columns:{app}.people"] == ["email", "note"]


def test_the_trail_of_a_record_is_found_under_its_new_names(server, app):
    install(server.admin, manifest(app, entity("contacts", field("mail"))))
    records = f"/api/v1/apps/{app}/collections"
    made = server.admin.post(f"{records}/contacts", json={"mail": "one"}).json()
    renamed = entity("people", field("email", was="mail"), was="contacts")
    install(server.admin, manifest(app, renamed))
    path = f"{records}/people/{made['id']}"
    server.admin.patch(path, json={"email": "two"})
    # A new table and a new field take the former names: their trail is not that of the record.
    people_again = entity("people", field("email"), field("mail"))
    install(server.admin, manifest(app, people_again, entity("contacts", field("x"))))
    server.admin.patch(path, json={"mail": "three"})
    server.admin.post(f"{records}/contacts", json={"x": "1"})
    history = server.admin.get(f"{path}/history").json()
    assert [entry["changes"] for entry in history] == [
        {"mail": [None, "three"]},
        {"email": ["one", "two"]},
        {"email": [None, "one"]},
    ]
    for query in (f"record_id={made['id']}", "operation=INSERT", f"actor_id={server.admin.id}"):
        rows = server.admin.get(f"/api/v1/audit?app_id={app}&entity=people&{query}").json()
        inserts = [row for row in rows if row["operation"] == "INSERT"]
        assert [row["record_id"] for row in inserts] == [made["id"]], query


def test_held_files_follow(server, app):
    wanted = manifest(app, entity("papers", field("scan", "file", maxSize="1MB")))
    install(server.admin, wanted)
    upload = server.admin.post(
        f"/api/v1/apps/{app}/files", files={"file": ("a.txt", b"some text", "text/plain")}
    )
    assert upload.status_code < 300, upload.text
    file_id = upload.json()["id"]
    records = f"/api/v1/apps/{app}/collections"
    made = server.admin.post(f"{records}/papers", json={"scan": file_id})
    assert made.status_code < 300, made.text
    renamed = manifest(
        app, entity("documents", field("paper", "file", maxSize="1MB", was="scan"), was="papers")
    )
    install(server.admin, renamed)
    path = f"{records}/documents/{made.json()['id']}"
    assert server.admin.patch(path, json={"paper": None}).status_code == 200
    held = server.sql(
        "select entity, field, ended_at is null from caudex_files.holdings where file_id = %s",
        file_id,
    )
    assert held == [("documents", "paper", False)]
