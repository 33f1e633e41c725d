"""Who installs, updates, verifies and removes, and what everyone sees."""

from __future__ import annotations

import socket

import pytest

from .support import entity, field, fresh_id, install, link, manifest


@pytest.fixture
def app() -> str:
    return fresh_id()


def post(client, wanted):
    return client.post("/api/v1/apps", json=wanted)


def make_admin(server, app, client):
    answer = server.admin.post(
        f"/api/v1/apps/{app}/roles/assign", json={"userId": client.id, "role": "admin"}
    )
    assert answer.status_code == 200, answer.text


def test_every_route_wants_a_token(server):
    for method, path in (
        ("GET", "/api/v1/apps"),
        ("POST", "/api/v1/apps"),
        ("DELETE", "/api/v1/apps/crm"),
        ("POST", "/api/v1/apps/schema/verify"),
        ("POST", "/api/v1/apps/crm/schema/prune"),
    ):
        assert server.http.request(method, path, json={}).status_code == 401


def test_a_new_app_is_installed_by_a_core_admin_only(server, app):
    user = server.user()
    assert post(user, manifest(app)).status_code == 403
    assert user.post("/api/v1/apps/schema/verify", json=manifest(app)).status_code == 403
    install(server.admin, manifest(app))


def test_a_refusal_comes_before_the_problems_of_the_manifest(server, app):
    user = server.user()
    install(server.admin, manifest(app))
    for wanted in ({}, {"appId": 5}, {"appId": "core"}, manifest(app, entity("X"))):
        assert post(user, wanted).status_code == 403
        assert post(server.admin, wanted).status_code == 400


def before_the_body(client, path):
    """The first status of the answer to a request whose body never comes."""
    host, port = str(client.base_url).rstrip("/").removeprefix("http://").split(":")
    head = {"host": "localhost", "content-length": "900000", "expect": "100-continue"}
    head["authorization"] = client.headers["authorization"]
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in head.items())]
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(4096).split()[1])


def test_who_can_install_nothing_is_refused_before_the_body(server, make_server, app):
    install(server.admin, manifest(app))
    owner, other = server.user(), server.user()
    make_admin(server, app, owner)
    for path in ("/api/v1/apps", "/api/v1/apps/schema/verify"):
        assert before_the_body(other, path) == 403
        for client in (server.admin, owner):
            assert before_the_body(client, path) == 100
    anyone = make_server({"plugins": {"apps": {"install": "any"}}}).user()
    assert before_the_body(anyone, "/api/v1/apps") == 100


def test_an_app_is_updated_and_removed_by_its_own_admins(server, app):
    install(server.admin, manifest(app))
    owner, other = server.user(), server.user()
    make_admin(server, app, owner)
    install(owner, manifest(app, entity("a", field("x"))))
    assert post(other, manifest(app)).status_code == 403
    assert other.delete(f"/api/v1/apps/{app}").status_code == 403
    assert post(owner, manifest(fresh_id())).status_code == 403
    assert owner.delete(f"/api/v1/apps/{app}").status_code == 200
    assert post(owner, manifest(app)).status_code == 403


def test_with_install_any_everyone_installs_and_is_admin_of_the_own_app(make_server, app):
    server = make_server({"plugins": {"apps": {"install": "any"}}})
    first, second = server.user(), server.user()
    install(first, manifest(app))
    assert post(second, manifest(app)).status_code == 403
    assert second.delete(f"/api/v1/apps/{app}").status_code == 403
    install(second, manifest(fresh_id()))
    install(first, manifest(app, entity("a")))
    assert first.delete(f"/api/v1/apps/{app}").status_code == 200


@pytest.mark.parametrize(
    "app_id", ["core", "public", "pg_catalog", "caudex_apps", "information_schema", "_platform",
               "Crm", 'a"; drop schema public; --', "a" * 64, "..", "%00"],
)  # fmt: skip
def test_what_is_no_app_cannot_be_removed(server, app_id):
    before = server.sql("select nspname from pg_namespace where nspname !~ '^pg_' order by 1")
    answer = server.admin.delete(f"/api/v1/apps/{app_id}")
    assert answer.status_code == 404, answer.text
    after = server.sql("select nspname from pg_namespace where nspname !~ '^pg_' order by 1")
    assert before == after


def test_a_schema_without_a_row_in_apps_is_never_dropped(server, app):
    server.sql(f"create schema {app}")
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 404
    assert server.sql("select to_regnamespace(%s) is not null", app) == [(True,)]


def test_what_an_app_had_is_gone_after_removal_but_for_the_audit_trail(server, app):
    install(server.admin, manifest(app, entity("a", field("x"))))
    server.sql(f"insert into {app}.a (x) values ('1')")
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert server.sql("select to_regnamespace(%s)", app) == [(None,)]
    for table in ("apps", "entities", "columns"):
        column = "id" if table == "apps" else "app_id"
        assert server.sql(f"select 1 from caudex_apps.{table} where {column} = %s", app) == []
    trail = server.admin.get("/api/v1/audit", params={"app_id": app}).json()
    assert [row["operation"] for row in trail] == ["INSERT"]
    install(server.admin, manifest(app, entity("a", field("x", "number"))))
    assert server.sql(f"select count(*) from {app}.a") == [(0,)]


def test_installs_and_removals_are_audited(server, app):
    install(server.admin, manifest(app, version="1.0.0"))
    install(server.admin, manifest(app, version="1.1.0"))
    server.admin.delete(f"/api/v1/apps/{app}")
    trail = server.admin.get("/api/v1/audit", params={"app_id": "core", "record_id": app}).json()
    said = [
        (row["operation"], (row["new_record"] or row["old_record"])["version"]) for row in trail
    ]
    assert said == [("APP_REMOVED", "1.1.0"), ("APP_UPDATED", "1.1.0"), ("APP_INSTALLED", "1.0.0")]
    assert {row["actor_id"] for row in trail} == {server.admin.id}
    assert trail[0]["table_name"] == "apps"


def test_a_body_over_a_megabyte_is_refused(server, app):
    large = manifest(app, description="x" * 1_000_001)
    assert post(server.admin, large).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"a"', b"5", b'{"appId": "\xff"}', b"[" * 1000,
     b'{"appId": "a\\u0000"}', b'{"appId": NaN}', b'{"appId": ' + b"1" * 5000 + b"}",
     b'{"appId": "a", "appId": "b"}',
     b'{"appId": "a", "dataContract": [{"entityName": "e", "entityName": "f"}]}'],
)  # fmt: skip
def test_a_body_that_is_no_manifest_is_a_clear_400(server, body):
    answer = server.admin.post(
        "/api/v1/apps", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]


def test_hostile_names_never_reach_the_database(server, app):
    evil = 'x"; drop schema public cascade; --'
    for wanted in (
        manifest(evil),
        manifest(app, entity(evil)),
        manifest(app, entity("a", field(evil))),
        manifest(app, entity("a", field("x", evil))),
        manifest(app, entity("a", field("x"), indexes=[{"columns": [evil]}])),
        manifest(app, entity("a", field("x"), indexes=[{"columns": ["x"], "unique": evil}])),
        manifest(app, entity("a", link("x", evil))),
        manifest(app, entity("a", link("x", "pg_catalog.pg_authid"))),
    ):  # fmt: skip
        assert post(server.admin, wanted).status_code == 400
    evil = "it's \\'; drop schema public cascade; -- %s %(x)s {} $1 \u202e"
    wanted = manifest(
        app,
        entity(
            "a",
            field("x", default_value=evil, enum_values=[evil, "y"]),
            field("y", "[text]", default_value=[evil]),
            field("z", "json", default_value={evil: evil}),
            indexes=[{"columns": ["x"], "name": "x_index"}],
        ),
        description=evil,
    )
    install(server.admin, wanted)
    server.sql(f"insert into {app}.a default values")
    assert server.sql(f"select x, y, z from {app}.a") == [(evil, [evil], {evil: evil})]
