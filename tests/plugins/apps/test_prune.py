"""Dropping for good, an explicit act."""

from __future__ import annotations

import pytest

from .support import entity, field, fresh_id, install, link, manifest


@pytest.fixture
def app(server) -> str:
    """An app with a retired field (two rows hold a value) and a retired entity (one row)."""
    app = fresh_id()
    install(
        server.admin,
        manifest(
            app,
            entity("a", field("x"), field("y", required=True), field("z")),
            entity("b", field("n"), link("up", "a")),
        ),
    )
    server.sql(f"insert into {app}.a (x, y, z) values ('1', '1', 'z'), (null, '2', 'z')")
    server.sql(f"insert into {app}.b (n) values ('1')")
    install(server.admin, manifest(app, entity("a", field("x"))))
    return app


def prune(server, app, **body):
    return server.admin.post(f"/api/v1/apps/{app}/schema/prune", json=body)


def there(server, app) -> tuple[list[str], bool]:
    names = server.sql(
        "select column_name from information_schema.columns"
        " where table_schema = %s and table_name = 'a' and length(column_name) = 1"
        " order by 1",
        app,
    )
    ((table,),) = server.sql("select to_regclass(%s) is not null", f"{app}.b")
    return [name for (name,) in names], table


def test_a_dry_run_shows_what_would_be_dropped_and_drops_nothing(server, app):
    answer = prune(server, app, dryRun=True)
    assert answer.status_code == 200
    assert answer.json() == {
        "dropped": [
            {"entity": "a", "column": "y", "rows": 2},
            {"entity": "a", "column": "z", "rows": 2},
            {"entity": "b", "column": None, "rows": 1},
        ],
        "dryRun": True,
    }
    assert there(server, app) == (["x", "y", "z"], True)


def test_everything_that_is_retired_goes_when_nothing_is_named(server, app):
    answer = prune(server, app)
    assert len(answer.json()["dropped"]) == 3
    assert answer.json()["dryRun"] is False
    assert there(server, app) == (["x"], False)
    assert prune(server, app).json() == {"dropped": [], "dryRun": False}
    assert server.sql(f"select x from {app}.a order by x") == [("1",), (None,)]


def test_one_column_goes_and_the_other_stays(server, app):
    answer = prune(server, app, entity="a", column="y")
    assert answer.json()["dropped"] == [{"entity": "a", "column": "y", "rows": 2}]
    assert there(server, app) == (["x", "z"], True)


def test_a_live_entity_is_scope_for_its_retired_columns(server, app):
    answer = prune(server, app, entity="a")
    assert [item["column"] for item in answer.json()["dropped"]] == ["y", "z"]
    assert there(server, app) == (["x"], True)
    assert prune(server, app, entity="a").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"entity": "nope"},
        {"entity": "a", "column": "nope"},
        {"entity": "a", "column": "x"},
        {"entity": "a", "column": "id"},
        {"entity": "a", "column": "_owner"},
        {"entity": "b", "column": "nope"},
        {"column": "y"},
        {"entity": 5},
        {"dryRun": "yes"},
        {"entitty": "a"},
        {"entity": 'a"; drop table a'},
    ],
)
def test_what_is_unknown_or_not_retired_is_refused(server, app, body):
    answer = prune(server, app, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert there(server, app) == (["x", "y", "z"], True)


def test_what_was_pruned_comes_back_empty(server, app):
    prune(server, app)
    install(server.admin, manifest(app, entity("a", field("x"), field("z", "number")), entity("b")))
    assert server.sql(f"select z from {app}.a") == [(None,), (None,)]
    assert server.sql(f"select count(*) from {app}.b") == [(0,)]


def test_what_someone_dropped_by_hand_is_struck_from_the_ledger(server, app):
    server.sql(f"drop table {app}.b")
    server.sql(f"alter table {app}.a drop column y")
    dropped = prune(server, app).json()["dropped"]
    assert [item["rows"] for item in dropped] == [0, 2, 0]
    assert prune(server, app).json()["dropped"] == []


def test_only_admins_prune(server, app):
    assert server.user().post(f"/api/v1/apps/{app}/schema/prune", json={}).status_code == 403
    assert prune(server, "nope").status_code == 404
    assert prune(server, "core").status_code == 404
    assert there(server, app) == (["x", "y", "z"], True)


def test_a_prune_is_audited(server, app):
    prune(server, app, entity="b")
    trail = server.admin.get("/api/v1/audit", params={"app_id": "core", "record_id": app}).json()
    assert trail[0]["operation"] == "APP_PRUNED"
    assert trail[0]["new_record"]["dropped"] == [{"entity": "b", "column": None, "rows": 1}]
