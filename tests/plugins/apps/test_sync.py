"""Install and schema sync: what is kept, what is refused, what converges."""

from __future__ import annotations

import json
import uuid

import psycopg
import pytest

from plugins.apps.names import derive

from .support import changes, entity, field, fresh_id, install, kinds, link, manifest, refused


@pytest.fixture
def app() -> str:
    return fresh_id()


def columns(server, app, table) -> dict[str, tuple[str, bool, str | None]]:
    rows = server.sql(
        "select column_name, udt_name, is_nullable = 'NO', column_default"
        " from information_schema.columns where (table_schema, table_name) = (%s, %s)"
        " order by ordinal_position",
        app,
        table,
    )
    return {name: tuple(rest) for name, *rest in rows}


def test_a_table_has_the_columns_of_the_manifest_and_those_of_the_server(server, app):
    wanted = manifest(
        app,
        entity(
            "things",
            field("a"),
            field("b", "number", required=True, default_value=1.5),
            field("c", "boolean", default_value=False),
            field("d", "date"),
            field("e", "timestamp"),
            field("f", "json", default_value={"k": ["it's", "a\\b"]}),
            field("g", "uuid"),
            field("h", "[text]", default_value=["a,b", 'c"d', "e'f", "g\\h", ""]),
            field("i", "[number]", default_value=[1, 2.5]),
            field("j", "file", default_value="it's a \\ back"),
            link("k", "things"),
            link("l", "core:users"),
        ),
    )
    install(server.admin, wanted)
    found = columns(server, app, "things")
    assert [(name, kind) for name, (kind, _, _) in found.items()] == [
        ("id", "uuid"), ("created_at", "timestamptz"), ("updated_at", "timestamptz"),
        ("_owner", "uuid"), ("a", "text"), ("b", "float8"), ("c", "bool"), ("d", "date"),
        ("e", "timestamptz"), ("f", "jsonb"), ("g", "uuid"), ("h", "_text"), ("i", "_float8"),
        ("j", "text"), ("k", "uuid"), ("l", "uuid"),
    ]  # fmt: skip
    assert [name for name, (_, required, _) in found.items() if required] == [
        "id", "created_at", "updated_at", "b",
    ]  # fmt: skip
    server.sql(f"insert into {app}.things default values")
    ((row,),) = server.sql(f"select row_to_json(t) from {app}.things as t")
    assert row["f"] == {"k": ["it's", "a\\b"]}
    assert row["h"] == ["a,b", 'c"d', "e'f", "g\\h", ""]
    assert (row["b"], row["c"], row["i"], row["j"]) == (1.5, False, [1, 2.5], "it's a \\ back")


def test_updated_at_follows_every_update_of_any_writer(server, app):
    install(server.admin, manifest(app, entity("things", field("a"))))
    server.sql(f"insert into {app}.things (a, updated_at) values ('x', '2000-01-01')")
    server.sql(f"update {app}.things set a = 'y', updated_at = '1999-01-01'")
    ((fresh,),) = server.sql(f"select updated_at > now() - interval '1 minute' from {app}.things")
    assert fresh


def test_the_default_order_and_links_are_indexed(server, app):
    install(server.admin, manifest(app, entity("a", link("b", "a"), field("c"))))
    assert indexed(server, app) == ["(_owner, created_at, id)", "(b)", "(created_at, id)", "(id)"]


def indexed(server, app) -> list[str]:
    rows = server.sql("select indexdef from pg_indexes where schemaname = %s", app)
    return sorted(definition.split(" btree ")[1] for (definition,) in rows)


def test_a_table_from_before_gets_the_index_of_owners_with_its_next_sync(server, app):
    wanted = manifest(app, entity("a", field("c")))
    install(server.admin, wanted)
    ((name,),) = server.sql(
        "select indexname from pg_indexes where schemaname = %s and indexdef like '%%_owner,%%'",
        app,
    )
    server.sql(f"drop index {app}.{name}")
    assert changes(server.admin, wanted) == [
        {"entity": "a", "change_type": "create_index", "column": "_owner, created_at, id",
         "detail": ""},
    ]  # fmt: skip
    install(server.admin, wanted)
    assert "(_owner, created_at, id)" in indexed(server, app)


def test_rules_are_in_force(server, app):
    install(
        server.admin,
        manifest(
            app,
            entity(
                "things",
                field("status", enum_values=["it's", "b\\c"]),
                field("tags", "[text]", enum_values=["x", "y"]),
                field("code", required=True),
                link("parent", "things", on_delete="cascade"),
                indexes=[{"columns": ["code"], "unique": True}],
            ),
        ),
    )
    server.sql(f"insert into {app}.things (code, status, tags) values ('1', 'it''s', '{{x,y}}')")
    for statement, kind in (
        ("(code, status) values ('2', 'c')", psycopg.errors.CheckViolation),
        ("(code, tags) values ('2', '{x,z}')", psycopg.errors.CheckViolation),
        ("(status) values ('it''s')", psycopg.errors.NotNullViolation),
        ("(code) values ('1')", psycopg.errors.UniqueViolation),
        ("(code, parent) values ('2', gen_random_uuid())", psycopg.errors.ForeignKeyViolation),
    ):
        with pytest.raises(kind) as found:
            server.sql(f"insert into {app}.things {statement}")
        reported = found.value.diag
        known = server.run(_entity, server, app, "things").constraints
        if reported.constraint_name and kind is not psycopg.errors.NotNullViolation:
            assert known[reported.constraint_name]


async def _entity(server, app, name):
    from kernel.public import APPS

    return await server.services.get(APPS).entity(app, name)


def test_cyclic_links_can_be_installed_and_their_targets_removed(server, app):
    both = manifest(app, entity("a", link("b", "b")), entity("b", link("a", "a")))
    install(server.admin, both)
    install(server.admin, manifest(app, entity("a", field("x"))))
    install(server.admin, both)


def test_long_names_do_not_clash(server, app):
    long = "x" * 61
    names = [f"{long}{n}" for n in ("aa", "ab")]
    install(
        server.admin,
        manifest(
            app,
            *[
                entity(
                    name,
                    *[field(n, enum_values=["a"]) for n in names],
                    link("up", names[0]),
                    indexes=[{"columns": [n], "unique": True, "name": long} for n in names[:1]],
                )
                for name in names
            ],
        ),
    )
    rows = server.sql(
        "select relname from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where nspname = %s and relkind = 'i'",
        app,
    )
    assert len(rows) == 10
    assert all(len(name) <= 63 for (name,) in rows)


NAMES = ["é" * 31, "é" * 63, "x" + "é" * 62, "日" * 63, "🜁" * 63, "é\né", "ok"]


def uniques(server, app) -> list[str]:
    rows = server.sql(
        "select indexrelid::regclass::text from pg_index join pg_class as c on c.oid = indrelid"
        " where relnamespace = %s::regnamespace and indisunique and not indisprimary",
        app,
    )
    return [name for (name,) in rows]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_index_converges_in_whatever_script_it_is_named(server, app, name):
    named = [{"columns": ["a"], "unique": True, "name": name}]
    wanted = manifest(app, entity("t", field("a"), indexes=named))
    for _ in range(2):
        install(server.admin, wanted)
        assert changes(server.admin, wanted) == []
        assert len(uniques(server, app)) == 1
    without = manifest(app, entity("t", field("a")))
    install(server.admin, without)
    assert changes(server.admin, without) == []
    assert uniques(server, app) == []


def test_an_index_whose_name_postgresql_once_cut_is_made_again_under_its_own(server, app):
    named = [{"columns": ["a"], "unique": True, "name": "é" * 31}]
    wanted = manifest(app, entity("t", field("a"), indexes=named))
    install(server.admin, wanted)
    (name,) = uniques(server, app)
    cut = "_t_" + "é" * 30
    server.sql(f'alter index {name} rename to "{cut}"')
    assert [kind for _, kind, _ in kinds(server.admin, wanted)] == ["drop_index", "create_index"]
    install(server.admin, wanted)
    assert uniques(server, app) == [name]
    assert changes(server.admin, wanted) == []


def test_names_of_ascii_are_what_they_were():
    assert derive("t", "x" * 63, "key", ("a",)) == "_t_" + "x" * 51 + "_b6e4a24f"
    assert derive("contacts", "email", "idx", ("email",)) == "_contacts_email_idx_461728bf"


def test_an_entity_may_be_called_like_an_index_would_be(server, app):
    install(
        server.admin,
        manifest(
            app,
            entity("a", field("b"), indexes=[{"columns": ["b"], "name": "a_b_idx"}]),
            entity("a_pkey"), entity("a_b_idx"), entity("text"), entity("select", field("from")),
        ),
    )  # fmt: skip


def test_every_kind_of_change_converges_and_keeps_data(server, app):
    """From state to state, in two orders: never a difference after an install."""
    states = [
        manifest(app, entity("a", field("x"))),
        manifest(app, entity("a", field("x", required=True, default_value="d"))),
        manifest(app, entity("a", field("x", enum_values=["v", "w"], default_value="v"))),
        manifest(app, entity("a", field("x"), indexes=[{"columns": ["x"], "unique": True}])),
        manifest(app, entity("a", field("x", "json"))),
        manifest(app, entity("a", field("x", "[text]"), field("y", "number", default_value=3))),
        manifest(app, entity("a", field("id", "text"), field("x"), link("up", "a"))),
        manifest(app, entity("a", field("x"), link("up", "a", on_delete="restrict")), entity("b")),
        manifest(app),
    ]
    install(server.admin, states[0])
    server.sql(f"insert into {app}.a (x) values ('v')")
    for wanted in [*states, *reversed(states), *states[::2], *states[1::2]]:
        answer = server.admin.post("/api/v1/apps", json=wanted)
        if answer.status_code == 200:
            assert changes(server.admin, wanted) == []
        else:
            assert answer.status_code == 400, answer.text
    assert server.sql(f"select count(*) from {app}.a") == [(1,)]


def test_verify_shows_what_an_install_would_change_and_changes_nothing(server, app):
    first = manifest(app, entity("a", field("x"), field("gone")), entity("old"))
    assert kinds(server.admin, manifest(app)) == [("", "create_schema", None)]
    assert kinds(server.admin, first) == [
        ("", "create_schema", None),
        ("a", "create_table", None),
        ("old", "create_table", None),
    ]
    install(server.admin, first)
    second = manifest(
        app,
        entity(
            "a",
            field("x", "number", required=True, default_value=1),
            field("new", enum_values=["p"]),
            link("up", "a"),
            indexes=[{"columns": ["x"], "unique": True}],
        ),
    )
    reported = kinds(server.admin, second)
    assert ("a", "alter_type", "x") in reported
    assert reported == kinds(server.admin, second)
    assert set(reported) == {
        ("a", "alter_type", "x"), ("a", "set_not_null", "x"), ("a", "set_default", "x"),
        ("a", "add_column", "new"), ("a", "add_check", "new"), ("a", "add_column", "up"),
        ("a", "add_foreign_key", "up"), ("a", "create_index", "up"), ("a", "create_index", "x"),
        ("a", "retire_column", "gone"), ("old", "retire_entity", None),
    }  # fmt: skip
    install(server.admin, second)
    assert ("old", "restore_entity", None) in kinds(server.admin, first)


def test_drift_by_hand_is_detected_and_fixed(server, app):
    wanted = manifest(
        app,
        entity(
            "a",
            field("x", required=True, default_value="d", enum_values=["d", "e"]),
            link("up", "a"),
        ),
    )
    install(server.admin, wanted)
    for statement, kind in (
        ("alter table {0}.a alter x drop not null", "set_not_null"),
        ("alter table {0}.a alter x set default 'e'", "set_default"),
        ("alter table {0}.a alter x drop default", "set_default"),
        ("alter table {0}.a drop constraint {check}", "add_check"),
        ("alter table {0}.a drop constraint {link}", "add_foreign_key"),
        ("drop index {0}.{index}", "create_index"),
        ("alter table {0}.a alter up type text", "alter_type"),
        ("drop trigger caudex_touch on {0}.a", "create_trigger"),
        ("alter table {0}.a drop column up", "add_column"),
        ("drop table {0}.a", "create_table"),
    ):
        names = _names(server, app)
        if "type text" in statement:
            server.sql(f"alter table {app}.a drop constraint {names['link']}")
        server.sql(statement.format(app, **names))
        assert kind in [change for _, change, _ in kinds(server.admin, wanted)]
        install(server.admin, wanted)


def test_drift_of_what_is_retired_is_lifted_again(server, app):
    install(server.admin, manifest(app, entity("a", field("x")), entity("b", field("y"))))
    wanted = manifest(app, entity("a"))
    install(server.admin, wanted)
    server.sql(f"alter table {app}.a alter x set not null")
    server.sql(f"alter table {app}.b alter y set default 'd'")
    assert kinds(server.admin, wanted) == [("a", "drop_not_null", "x"), ("b", "drop_default", "y")]
    install(server.admin, wanted)


def test_a_schema_that_someone_dropped_is_made_again(server, app):
    wanted = manifest(app, entity("a", field("x")))
    install(server.admin, wanted)
    server.sql(f"drop schema {app} cascade")
    assert kinds(server.admin, wanted)[0] == ("", "create_schema", None)
    install(server.admin, wanted)


def _names(server, app) -> dict[str, str]:
    rows = server.sql(
        "select contype, conname from pg_constraint where connamespace = %s::regnamespace", app
    )
    found = dict(rows)
    ((index,),) = server.sql(
        "select indexname from pg_indexes where schemaname = %s and indexdef like '%%(up)'", app
    )
    return {"check": found["c"], "link": found["f"], "index": index}


def test_what_was_made_by_hand_is_left_alone(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"alter table {app}.a add column note text not null default 'n'")
    server.sql(f"create index by_hand on {app}.a (x, note)")
    server.sql(f"create table {app}.extra (n int)")
    server.sql(f"insert into {app}.a (x, note) values ('1', 'kept')")
    install(server.admin, manifest(app, entity("a", field("y"))))
    assert server.sql(f"select x, note from {app}.a") == [("1", "kept")]
    assert columns(server, app, "a")["note"] == ("text", True, "'n'::text")
    assert server.sql("select 1 from pg_indexes where indexname = 'by_hand'") == [(1,)]
    assert "no install made" in refused(server.admin, manifest(app, entity("a"), entity("extra")))
    install(server.admin, manifest(app, entity("a", field("note", "text"))))
    assert server.sql(f"select note from {app}.a") == [("kept",)]


def test_a_view_on_a_column_is_a_clear_refusal_not_a_crash(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"create view {app}.v as select x from {app}.a")
    said = refused(server.admin, manifest(app, entity("a", field("x", "number"))))
    assert "view" in said
    install(server.admin, manifest(app, entity("a")))
    answer = server.admin.post(f"/api/v1/apps/{app}/schema/prune", json={})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("PostgreSQL refuses a change")


def test_a_foreign_key_made_by_hand_is_a_clear_refusal_too(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"create table {app}.extra (a uuid references {app}.a)")
    said = refused(server.admin, manifest(app, entity("a", field("id", "text"))))
    assert said.startswith("PostgreSQL refuses a change: ")
    install(server.admin, manifest(app))
    answer = server.admin.post(f"/api/v1/apps/{app}/schema/prune", json={"entity": "a"})
    assert answer.status_code == 400
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200


def test_a_schema_that_is_no_apps_is_not_taken(server, app):
    server.sql(f"create schema {app}")
    assert "already" in refused(server.admin, manifest(app))
    answer = server.admin.post("/api/v1/apps/schema/verify", json=manifest(app))
    assert answer.status_code == 400
    assert server.sql("select 1 from pg_namespace where nspname = %s", app) == [(1,)]


# Required, enums, unique, links over rows that exist


def test_a_new_required_field_on_a_filled_table_needs_a_default(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    needed = manifest(app, entity("a", field("x"), field("y", "number", required=True)))
    install(server.admin, needed)
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"insert into {app}.a (x) values ('1'), ('2')")
    assert refused(server.admin, needed) == "a.y: 2 rows have no value in it, and it is required"
    new = manifest(app, entity("a", field("x"), field("z", "number", required=True)))
    assert (
        refused(server.admin, new) == "a.z: 2 rows need a value and the field has no default_value"
    )
    assert "z" not in columns(server, app, "a")
    filled = field("z", "number", required=True, default_value=7)
    install(server.admin, manifest(app, entity("a", field("x"), filled)))
    assert server.sql(f"select x, z from {app}.a order by x") == [("1", 7.0), ("2", 7.0)]


def test_required_over_nulls_is_refused_with_a_count(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"insert into {app}.a (x) values ('1'), (null)")
    said = refused(server.admin, manifest(app, entity("a", field("x", required=True))))
    assert said == "a.x: 1 row has no value in it, and it is required"


def test_an_enum_value_in_use_cannot_be_removed(server, app):
    def enum(*values):
        return manifest(app, entity("a", field("x", enum_values=list(values))))

    install(server.admin, enum("p", "q", "r"))
    server.sql(f"insert into {app}.a (x) values ('p'), ('q'), ('q'), (null)")
    assert refused(server.admin, enum("p")) == (
        'a.x: 2 rows have values no longer among enum_values ("q")'
    )
    install(server.admin, enum("p", "q"))
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"insert into {app}.a (x) values ('anything')")
    assert "1 row" in refused(server.admin, enum("p", "q"))


def test_an_enum_is_read_back_whatever_its_values_are(server, app):
    values = ["it's", "b\\c", 'a,"b"', "{x}", "NULL", "a b", " ", "'q'::text", "é"]
    wanted = manifest(app, entity("a", field("x", enum_values=values)))
    install(server.admin, wanted)
    assert changes(server.admin, wanted) == []
    for value in values:
        server.admin.post(f"/api/v1/apps/{app}/collections/a", json={"x": value}).raise_for_status()


def test_an_enum_of_a_node_for_each_value_is_as_good(server, app):
    wanted = manifest(app, entity("a", field("x", enum_values=["it's", "q"])))
    install(server.admin, wanted)
    [(name,)] = server.sql(
        f"select conname from pg_constraint where conrelid = '{app}.a'::regclass and contype = 'c'"
    )
    server.sql(
        f'alter table {app}.a drop constraint "{name}", add constraint "{name}"'
        " check (x = any (array['it''s', 'q']::text[]))"
    )
    assert changes(server.admin, wanted) == []


def test_a_unique_index_over_shared_values_is_refused(server, app):
    def unique(*names):
        return manifest(
            app,
            entity("a", field("x"), field("y"), indexes=[{"columns": list(names), "unique": True}]),
        )

    install(server.admin, manifest(app, entity("a", field("x"), field("y"))))
    server.sql(
        f"insert into {app}.a (x, y) values ('p', '1'), ('p', '2'), (null, '3'), (null, '4')"
    )
    said = refused(server.admin, unique("x"))
    assert said == 'a.x: 1 value is shared by several rows, and it is unique ("p")'
    install(server.admin, unique("x", "y"))


def test_a_link_to_what_is_not_there_is_refused(server, app):
    both = entity("b"), entity("c")
    install(server.admin, manifest(app, entity("a", link("x", "b")), *both))
    ((there,),) = server.sql(f"insert into {app}.b default values returning id")
    server.sql(f"insert into {app}.a (x) values (%s), (null)", there)
    said = refused(server.admin, manifest(app, entity("a", link("x", "c")), *both))
    assert said == f'a.x: 1 value is no record of c ("{there}")'
    server.sql(f"insert into {app}.c (id) values (%s)", there)
    install(server.admin, manifest(app, entity("a", link("x", "c")), *both))


def test_a_link_to_an_account_that_is_not_there_is_refused(server, app):
    install(server.admin, manifest(app, entity("a", field("u", "uuid"))))
    no_one = str(uuid.uuid4())
    server.sql(f"insert into {app}.a (u) values (%s), (null)", no_one)
    wanted = manifest(app, entity("a", link("u", "core:users")))
    assert refused(server.admin, wanted) == f'a.u: 1 value is no record of users ("{no_one}")'
    server.sql(f"update {app}.a set u = %s where u is not null", server.admin.id)
    install(server.admin, wanted)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        server.sql(f"insert into {app}.a (u) values (%s)", no_one)


def test_all_refusals_of_all_tables_are_reported_at_once(server, app):
    install(server.admin, manifest(app, entity("a", field("x")), entity("b", field("y"))))
    server.sql(f"insert into {app}.a (x) values ('u')")
    server.sql(f"insert into {app}.b (y) values ('v')")
    said = refused(
        server.admin,
        manifest(app, entity("a", field("x", "number")), entity("b", field("y", "date"))),
    )
    assert "a.x: " in said
    assert "b.y: " in said


# Retire and come back


def test_a_retired_field_keeps_its_values_and_lets_new_rows_in(server, app):
    full = manifest(
        app,
        entity(
            "a",
            field("x", required=True, default_value="d", enum_values=["d", "e"]),
            field("keep"),
            link("up", "a", on_delete="cascade"),
            indexes=[{"columns": ["x"], "unique": True}],
        ),
    )
    install(server.admin, full)
    server.sql(f"insert into {app}.a (x, keep) values ('e', '1')")
    install(server.admin, manifest(app, entity("a", field("keep"))))
    assert columns(server, app, "a")["x"] == ("text", False, None)
    assert server.sql(f"select count(*) from pg_constraint where conrelid = '{app}.a'::regclass"
                      " and contype in ('c', 'f')") == [(0,)]  # fmt: skip
    server.sql(f"insert into {app}.a (keep) values ('2'), ('3')")
    assert server.sql(f"select x from {app}.a where keep = '1'") == [("e",)]
    said = refused(server.admin, full)
    assert said == "a.x: 2 rows have no value in it, and it is required"
    server.sql(f"update {app}.a set x = 'e' where x is null")
    assert "shared" in refused(server.admin, full)
    server.sql(f"delete from {app}.a where keep = '3'")
    server.sql(f"update {app}.a set x = 'd' where keep = '2'")
    install(server.admin, full)
    assert server.sql(f"select x from {app}.a order by keep") == [("e",), ("d",)]


def test_a_retired_field_is_gone_from_the_catalog(server, app):
    install(server.admin, manifest(app, entity("a", field("x"), field("y"))))
    install(server.admin, manifest(app, entity("a", field("y"))))
    found = server.run(_entity, server, app, "a")
    assert [f.name for f in found.fields] == ["y"]


def test_a_field_that_returns_with_another_type_is_converted(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"insert into {app}.a (x) values ('12')")
    install(server.admin, manifest(app, entity("a")))
    install(server.admin, manifest(app, entity("a", field("x", "number"))))
    assert server.sql(f"select x from {app}.a") == [(12.0,)]
    install(server.admin, manifest(app, entity("a")))
    assert "does not convert" in refused(
        server.admin, manifest(app, entity("a", field("x", "date")))
    )


def test_a_retired_entity_comes_back_with_its_rows(server, app):
    full = manifest(
        app,
        entity("a", field("x", required=True)),
        entity("b", link("a", "a", required=True, on_delete="cascade"), field("n", required=True)),
    )
    install(server.admin, full)
    ((there,),) = server.sql(f"insert into {app}.a (x) values ('1') returning id")
    server.sql(f"insert into {app}.b (a, n) values (%s, 'n')", there)
    install(server.admin, manifest(app, entity("a", field("x", required=True))))
    # A row of the retired table must not vanish with, or keep, what it links to.
    server.sql(f"delete from {app}.a")
    assert server.sql(f"select n, a from {app}.b") == [("n", there)]
    assert refused(server.admin, full) == f'b.a: 1 value is no record of a ("{there}")'
    server.sql(f"insert into {app}.a (id, x) values (%s, '1')", there)
    install(server.admin, full)
    assert server.sql(f"select n from {app}.b") == [("n",)]


def test_a_field_that_was_retired_before_its_entity_stays_retired(server, app):
    install(server.admin, manifest(app, entity("a", field("x"), field("y"))))
    server.sql(f"insert into {app}.a (x) values ('1')")
    install(server.admin, manifest(app, entity("a", field("y"))))
    install(server.admin, manifest(app))
    install(server.admin, manifest(app, entity("a", field("y"))))
    assert [f.name for f in server.run(_entity, server, app, "a").fields] == ["y"]
    install(server.admin, manifest(app, entity("a", field("x"), field("y"))))
    assert server.sql(f"select x from {app}.a") == [("1",)]


# Primary keys


def _keyed(app, kind, *more):
    return manifest(
        app,
        entity("a", field("id", kind), field("x")),
        entity("b", link("a", "a", required=True), link("other", "a", on_delete="cascade"), *more),
    )


def test_a_referenced_primary_key_changes_together_with_its_links(server, app):
    install(server.admin, _keyed(app, "uuid"))
    ((there,),) = server.sql(f"insert into {app}.a (x) values ('1') returning id")
    server.sql(f"insert into {app}.b (a, other) values (%s, %s)", there, there)
    install(server.admin, _keyed(app, "text"))
    assert server.sql(f"select b.a, b.other, a.x from {app}.b join {app}.a on a.id = b.a") == [
        (str(there), str(there), "1")
    ]
    server.sql(f"insert into {app}.a (id, x) values ('not-a-uuid', '2')")
    server.sql(f"insert into {app}.b (a) values ('not-a-uuid')")
    said = refused(server.admin, _keyed(app, "uuid"))
    assert 'a.id: 1 value does not convert from text to uuid ("not-a-uuid")' in said
    assert "b.a: 1 value does not convert" in said
    assert columns(server, app, "b")["a"][0] == "text"
    server.sql(f"delete from {app}.b where a = 'not-a-uuid'")
    server.sql(f"delete from {app}.a where id = 'not-a-uuid'")
    install(server.admin, _keyed(app, "uuid"))
    assert server.sql(f"select a, other from {app}.b") == [(there, there)]


def test_ids_that_would_become_the_same_are_refused(server, app):
    one = str(uuid.uuid4()).replace("0", "a")
    install(server.admin, manifest(app, entity("a", field("id", "text"))))
    server.sql(f"insert into {app}.a (id) values (%s), (%s)", one.lower(), one.upper())
    said = refused(server.admin, manifest(app, entity("a", field("id", "uuid"))))
    assert said == "a.id: 1 value is the same as another one in the type uuid"


def test_a_text_id_has_a_default_too(server, app):
    install(server.admin, manifest(app, entity("a", field("id", "text"))))
    server.sql(f"insert into {app}.a default values")
    ((made,),) = server.sql(f"select id from {app}.a")
    assert uuid.UUID(made)


# All or nothing


def test_a_hook_that_refuses_undoes_everything(server, app):
    """rbac keeps permissions of the app: its table is made to fail."""
    install(server.admin, manifest(app, entity("a", field("x"))))
    before = columns(server, app, "a")
    server.sql("create function public.no() returns trigger language plpgsql as"
               " $$ begin raise exception 'no' using errcode = '23000'; end $$")  # fmt: skip
    server.sql("create trigger no before insert or update on caudex_apps.columns"
               " for each row execute function public.no()")  # fmt: skip
    try:
        wanted = manifest(app, entity("a", field("x", "number"), field("y")), entity("b"))
        assert server.admin.post("/api/v1/apps", json=wanted).status_code == 400
    finally:
        server.sql("drop function public.no() cascade")
    assert columns(server, app, "a") == before
    assert server.sql("select to_regclass(%s)", f"{app}.b") == [(None,)]
    assert json.loads(server.admin.get("/api/v1/apps").content)
    install(server.admin, wanted)
