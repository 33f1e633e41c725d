"""From any manifest to any other: nothing is lost, refusals change nothing, installs converge."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from psycopg import sql

from .support import changes, entity, field, fresh_id, link, manifest

EXAMPLES = settings.default.max_examples if settings.default.max_examples > 100 else 30
ONE = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

VALUES: dict[str, list[Any]] = {
    "text": ["", "a", "it's", "1", "2.5", "true", "2024-01-15", "2024-01-15T10:30:00Z", ONE, "[1]",
             '{"k": 1}', "007", "null"],
    "file": ["a.pdf", "5"],
    "number": [0, 1, 2.5, -3, 1e20, 1e300, 0.1],
    "boolean": [True, False],
    "date": ["2024-01-15", "0001-01-01"],
    "timestamp": ["2024-01-15T00:00:00Z", "2024-01-15T10:30:00Z"],
    "json": ['{"k": [1, null]}', "[1, 2]", '["a"]', '"a"', "5", "true", f'"{ONE}"', '"2024-01-15"'],
    "uuid": [ONE],
    "[text]": [[], ["a"], ["1", "2"], ["it's", 'q"', "\\"]],
    "[number]": [[], [1], [1, 2.5]],
}  # fmt: skip
DEFAULTS: dict[str, list[Any]] = {**VALUES, "json": [{"k": [1, None]}, [], "a", 5, False]}


@st.composite
def fields(draw: st.DrawFn, name: str) -> dict[str, Any]:
    if draw(st.integers(0, 5)) == 0:
        more: dict[str, Any] = {"required": draw(st.booleans())}
        options = ["cascade", "restrict"] + ([] if more["required"] else ["set_null"])
        if draw(st.booleans()):
            more["on_delete"] = draw(st.sampled_from(options))
        return link(name, draw(st.sampled_from(["a", "b", "core:users"])), **more)
    kind = draw(st.sampled_from(sorted(VALUES)))
    more = {"required": draw(st.booleans())}
    if draw(st.booleans()):
        more["default_value"] = draw(st.sampled_from(DEFAULTS[kind]))
    if kind == "text" and draw(st.integers(0, 3)) == 0:
        chosen = draw(st.sets(st.sampled_from(VALUES["text"]), min_size=1))
        more["enum_values"] = sorted(chosen | {more.get("default_value", "a")})
    return field(name, kind, **more)


@st.composite
def entities(draw: st.DrawFn, name: str) -> dict[str, Any]:
    names = draw(st.sets(st.sampled_from(["p", "q", "r"])))
    found = [draw(fields(item)) for item in sorted(names)]
    if draw(st.booleans()):
        found.insert(0, field("id", draw(st.sampled_from(["uuid", "text"]))))
    indexes = [
        {"columns": [item], "unique": draw(st.booleans())}
        for item in sorted(names)
        if draw(st.integers(0, 4)) == 0
    ]
    return entity(name, *found, indexes=indexes)


@st.composite
def manifests(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The entities of a manifest; a link to one that is not there is left out."""
    names = draw(st.sets(st.sampled_from(["a", "b"]), min_size=1))
    found = [draw(entities(name)) for name in sorted(names)]
    for item in found:
        item["fields"] = [
            f for f in item["fields"] if f.get("references", {}).get("entity", "a") in
            {*names, "core:users"} or f["type"] != "entity_link"
        ]  # fmt: skip
        kept = {f["name"] for f in item["fields"]}
        item["indexes"] = [i for i in item["indexes"] if set(i["columns"]) <= kept]
    return found


def snapshot(server, app) -> dict[str, Any]:
    """Everything in the schema of an app: definitions and rows."""
    query = """
        select json_build_object(
            'columns', (select json_agg(c order by c) from (
                select table_name::text as t, column_name::text as n, data_type::text as d,
                    is_nullable::text as r, column_default::text as f, udt_name::text as u
                from information_schema.columns where table_schema = %(app)s) as c),
            'constraints', (select json_agg(x order by x) from (
                select conrelid::regclass::text || pg_get_constraintdef(oid) as x
                from pg_constraint where connamespace = to_regnamespace(%(app)s)) as k),
            'indexes', (select json_agg(indexdef order by indexdef) from pg_indexes
                where schemaname = %(app)s),
            'ledger', (select json_agg(l order by entity, name) from (
                select entity, name, retired_at is not null as gone from caudex_apps.columns
                where app_id = %(app)s) as l))"""
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute(query, {"app": app}).fetchone()
        found: dict[str, Any] = {"schema": row[0] if row else None, "rows": {}}
        for table in {c["t"] for c in found["schema"]["columns"] or []}:
            rows = connection.execute(
                sql.SQL("select id::text, to_jsonb(t) - 'id' from {} as t").format(
                    sql.Identifier(app, table)
                )
            ).fetchall()
            found["rows"][table] = dict(rows)
    return found


def insert_rows(server, app, wanted, chance: random.Random) -> None:
    """Some rows that satisfy the manifest; what breaks a unique index or a link is left out."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for item in wanted * 2:
            values: dict[str, Any] = {}
            for f in item["fields"]:
                if chance.random() < 0.3 and not f.get("required"):
                    continue
                if f["name"] == "id":
                    options = [f"{ONE[:-4]}{chance.randrange(16**4):04x}"]
                    options += ["x", "1"] if f["type"] in ("text", "string") else []
                elif f["type"] == "entity_link":
                    options = _ids(connection, app, f["references"]["entity"])
                else:
                    options = f.get("enum_values") or VALUES[f["type"]]
                if options:
                    values[f["name"]] = chance.choice(options)
            _insert(connection, app, item["entityName"], values)


def _ids(connection, app, target) -> list[str]:
    if target == "core:users":
        return []
    table = sql.Identifier(app, target)
    return [i for (i,) in connection.execute(sql.SQL("select id from {}").format(table)).fetchall()]


def _insert(connection, app, table, values) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    marks = sql.SQL(", ").join([sql.Placeholder()] * len(values))
    form = "insert into {} ({}) values ({})" if values else "insert into {} default values"
    statement = sql.SQL(form).format(sql.Identifier(app, table), columns, marks)
    floats = [
        [float(part) for part in v]
        if isinstance(v, list) and v and not isinstance(v[0], str)
        else v
        for v in values.values()
    ]
    with contextlib.suppress(psycopg.IntegrityError):
        connection.execute(statement, floats)


def check_kept(before: dict[str, Any], after: dict[str, Any]) -> None:
    types = {(c["t"], c["n"]): c["u"] for c in before["schema"]["columns"] or []}
    now = {(c["t"], c["n"]): c["u"] for c in after["schema"]["columns"] or []}
    assert types.keys() <= now.keys()
    for table, rows in before["rows"].items():
        assert rows.keys() == after["rows"][table].keys()
        for key, row in rows.items():
            for column, value in row.items():
                there = after["rows"][table][key][column]
                if types[table, column] == now[table, column]:
                    assert there == value
                else:
                    assert (there is None) == (value is None), (column, value, there)


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=st.lists(manifests(), min_size=2, max_size=4), seed=st.integers(0, 2**32))
def test_no_way_between_manifests_loses_data(server, steps, seed):
    app = fresh_id()
    chance = random.Random(seed)
    standing: dict[str, Any] | None = None
    for step in steps:
        wanted = manifest(app, *step)
        before = snapshot(server, app)
        answer = server.admin.post("/api/v1/apps", json=wanted)
        after = snapshot(server, app)
        note(f"{answer.status_code} {answer.text}")
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 400:
            assert after == before
            if standing is not None:
                assert changes(server.admin, standing) == []
            continue
        standing = wanted
        check_kept(before, after)
        assert changes(server.admin, wanted) == []
        assert server.admin.post("/api/v1/apps", json=wanted).status_code == 200
        assert snapshot(server, app) == after
        insert_rows(server, app, step, chance)
    server.admin.delete(f"/api/v1/apps/{app}")
    assert snapshot(server, app)["schema"]["columns"] is None
