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
            "sort": "note,mail",
            "group": "mail",
            "widths": "mail.300,note.90",
        },
    }
    assert server.admin.post("/api/v1/console/views", json=view).status_code == 201
    other = view | {"entity": "tasks", "state": {"where": '{"person_id":{"$has":{"mail":"b"}}}'}}
    assert server.admin.post("/api/v1/console/views", json=other).status_code == 201
    kept = {
        f"columns:{app}.contacts": ["mail", "note"],
        f"widths:{app}.contacts": {"mail": 300, "note": 90},
    }
    assert server.admin.patch("/api/v1/console/settings", json=kept).status_code == 200

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
        "sort": "note,email",
        "group": "email",
        "widths": "email.300,note.90",
    }
    (shown,) = server.admin.get(f"/api/v1/console/views?app={app}&entity=tasks").json()
    assert shown["state"] == {"where": '{"person_id":{"$has":{"email":"b"}}}'}
    settings = server.admin.get("/api/v1/console/settings").json()
    assert settings[f"columns:{app}.people"] == ["email", "note"]
    assert settings[f"widths:{app}.people"] == {"email": 300, "note": 90}


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


def swapped(app, *, first="mail", second="note"):
    """An app whose two fields are called so; both are indexed, searched, and one has choices."""
    return manifest(
        app,
        entity(
            "people",
            field(first, enum_values=["a", "b"]),
            field(second),
            field("shown", generated={"$concat": [first, "-", second]}),
            indexes=[{"columns": [first], "unique": True}, {"columns": [second]}],
            search={"fields": [{"name": first, "weight": "A"}, second], "language": "english"},
        ),
    )


def history(part, *names):
    part["was"] = list(names)


def test_two_fields_swap_their_names_and_keep_their_values(server, app):
    install(server.admin, swapped(app))
    server.sql(f"insert into {app}.people (mail, note) values ('a', 'one')")
    before = names_of_rules(server, app)
    wanted = swapped(app, first="note", second="mail")
    first, second, _ = wanted["dataContract"][0]["fields"]
    history(first, "mail")
    history(second, "note")
    assert kinds(server.admin, wanted) == [
        ("people", "rename_column", "note"),
        ("people", "rename_column", "mail"),
    ]
    install(server.admin, wanted)
    assert server.sql(f"select note, mail, shown from {app}.people") == [("a", "one", "a-one")]
    assert names_of_rules(server, app) == before
    path = f"/api/v1/apps/{app}/collections/people"
    assert server.admin.post(path, json={"note": "c"}).status_code == 400
    assert "note" in server.admin.post(path, json={"note": "a"}).json()["error"]
    assert server.admin.post(path, json={"note": "b", "mail": "two"}).status_code == 201

    # What was swapped stays so, whatever else changes.
    second["label"] = "Mail"
    assert kinds(server.admin, wanted) == []
    install(server.admin, wanted)
    assert server.sql(f"select mail from {app}.people order by mail") == [("one",), ("two",)]


def test_a_swap_is_swapped_again_by_the_whole_history(server, app):
    install(server.admin, swapped(app))
    server.sql(f"insert into {app}.people (mail, note) values ('a', 'one')")
    etag = server.admin.get(f"/api/v1/apps/{app}/manifest").headers["etag"]
    step = {"op": "swap_fields", "entity": "people", "field": "mail", "other": "note"}
    path = f"/api/v1/apps/{app}/manifest/edit"
    manifests = []
    for number in range(1, 4):
        answer = server.admin.post(path, json={"operations": [step]}, headers={"if-match": etag})
        assert answer.status_code == 200, answer.text
        etag = answer.headers["etag"]
        manifests.append(answer.json()["manifest"])
        row = ("one", "a") if number % 2 else ("a", "one")
        assert server.sql(f"select mail, note from {app}.people") == [row]
    assert manifests[0]["dataContract"][0]["indexes"][0]["columns"] == ["note"]
    assert manifests[1]["dataContract"][0]["fields"][0]["was"] == ["note", "mail"]

    # A server that was not there in between comes to the same: two swaps are none.
    other = f"{app}_other"
    install(server.admin, swapped(other))
    server.sql(f"insert into {other}.people (mail, note) values ('a', 'one')")
    late = manifests[1] | {"appId": other}
    assert kinds(server.admin, late) == []
    assert kinds(server.admin, manifests[2] | {"appId": other}) == [
        ("people", "rename_column", "note"),
        ("people", "rename_column", "mail"),
    ]


def test_undo_swaps_back(server, app):
    install(server.admin, swapped(app))
    server.sql(f"insert into {app}.people (mail, note) values ('a', 'one')")
    step = {"op": "swap_fields", "entity": "people", "field": "mail", "other": "note"}
    path = f"/api/v1/apps/{app}/manifest"
    match = {"if-match": "*"}
    edit = {"operations": [step]}
    assert server.admin.post(f"{path}/edit", json=edit, headers=match).is_success
    for row in (("a", "one"), ("one", "a")):
        answer = server.admin.post(f"{path}/undo", json={}, headers=match)
        assert answer.status_code == 200, answer.text
        assert server.sql(f"select mail, note from {app}.people") == [row]


def test_two_tables_swap_their_names_with_links_rights_and_views(server, app):
    wanted = manifest(
        app,
        entity("drafts", field("title"), indexes=[{"columns": ["title"]}]),
        entity("papers", field("title"), field("pages", "number"),
               indexes=[{"columns": ["title"]}]),
        entity("notes", link("draft_id", "drafts"), link("paper_id", "papers")),
    )  # fmt: skip
    install(server.admin, wanted)
    server.sql(
        f"with d as (insert into {app}.drafts (title) values ('d') returning id), "
        f"p as (insert into {app}.papers (title, pages) values ('p', 7) returning id) "
        f"insert into {app}.notes (draft_id, paper_id) select d.id, p.id from d, p"
    )
    role = {"name": "reader", "permissions": ["drafts.read", "papers.update"]}
    assert server.admin.post(f"/api/v1/apps/{app}/roles", json=role).is_success
    view = {"app": app, "entity": "papers", "name": "mine", "state": {"columns": "pages"}}
    assert server.admin.post("/api/v1/console/views", json=view).status_code == 201
    before = names_of_rules(server, app)

    step = {"op": "swap_entities", "entity": "drafts", "other": "papers"}
    path = f"/api/v1/apps/{app}/manifest/edit"
    body = {"operations": [step]}
    planned = server.admin.post(path, json=body | {"dryRun": True}, headers={"if-match": "*"})
    changes = planned.json()["changes"]
    assert [(c["entity"], c["change_type"], c["rows"]) for c in changes] == [
        ("papers", "rename_table", 1), ("drafts", "rename_table", 1),
    ]  # fmt: skip
    answer = server.admin.post(path, json=body, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text
    assert server.sql(f"select title, pages from {app}.drafts") == [("p", 7.0)]
    assert names_of_rules(server, app) == before
    notes = server.admin.get(
        f"/api/v1/apps/{app}/collections/notes?expand=draft_id,paper_id"
    ).json()
    assert notes[0]["expand"]["draft_id"]["title"] == "d"
    assert kinds(server.admin, answer.json()["manifest"]) == []
    (stored,) = server.admin.get("/api/v1/console/views", params={"app": app}).json()
    assert (stored["entity"], stored["name"]) == ("drafts", "mine")
    roles = {part["name"]: part for part in server.admin.get(f"/api/v1/apps/{app}/roles").json()}
    assert set(roles["reader"]["permissions"]) == {"papers.read", "drafts.update"}


def test_names_move_along_a_row_of_fields(server, app):
    install(server.admin, manifest(app, entity("things", field("a"), field("b"))))
    server.sql(f"insert into {app}.things (a, b) values ('1', '2')")
    moved = manifest(app, entity("things", field("b", was="a"), field("c", was="b")))
    assert kinds(server.admin, moved) == [
        ("things", "rename_column", "c"),
        ("things", "rename_column", "b"),
    ]
    install(server.admin, moved)
    assert server.sql(f"select b, c from {app}.things") == [("1", "2")]


def test_the_trail_of_swapped_fields_is_shown_under_their_names_of_today(server, app):
    install(server.admin, swapped(app))
    path = f"/api/v1/apps/{app}/collections/people"
    record = server.admin.post(path, json={"mail": "a", "note": "one"}).json()
    step = {"op": "swap_fields", "entity": "people", "field": "mail", "other": "note"}
    edit = f"/api/v1/apps/{app}/manifest/edit"
    answer = server.admin.post(edit, json={"operations": [step]}, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text
    server.admin.patch(f"{path}/{record['id']}", json={"mail": "two"})
    later, created = server.admin.get(f"{path}/{record['id']}/history").json()
    assert later["changes"]["mail"] == ["one", "two"]
    assert "note" not in later["changes"]
    assert created["changes"]["mail"] == [None, "one"]
    assert created["changes"]["note"] == [None, "a"]
