"""Jobs that go on where they stopped, in both languages."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.workers.support import deploy, grant, result

pytestmark = pytest.mark.slow

PYTHON = """
from caudex_worker import ChangesLost, Worker

worker = Worker()

async def read(collection, params):
    seen = []
    name, options = params["name"], params.get("options", {})
    try:
        async for change in collection.changes(name, **options):
            seen.append(change)
            if len(seen) == params.get("fail_after"):
                raise ValueError("failed")
    except ChangesLost as lost:
        return {"lost": lost.reason, "position": lost.position}
    except Exception as error:
        return {"error": str(error), "seen": seen}
    return {"seen": seen}

@worker.rpc
async def changes(params, ctx):
    return await read(ctx.collection(params["entity"]), params)

@worker.rpc
async def own(params, ctx):
    return await read(worker.collection(params["entity"]), params)

@worker.rpc
def blocking(params, ctx):
    return {"seen": list(ctx.collection(params["entity"]).changes(params["name"]))}

worker.run()
"""
JAVASCRIPT = """
const read = async (collection, params) => {
  const seen = [];
  try {
    for await (const change of collection.changes(params.name, params.options)) {
      seen.push(change);
      if (seen.length === params.fail_after) throw new Error("failed");
    }
  } catch (error) {
    if (error.reason) return { lost: error.reason, position: error.position };
    return { error: error.message, seen };
  }
  return { seen };
};
serve({ changes: (params, caller, ctx) => read(ctx.collection(params.entity), params) });
"""
MANIFEST = {
    "name": "Sales",
    "dataContract": [
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "secret", "type": "text", "access": {"read": "boss", "write": "boss"}},
            ],
        }
    ],
}


class App:
    """An app whose worker reads the changes of its deals."""

    def __init__(self, server: Server, app_id: str, files: dict[str, str]) -> None:
        self.server, self.app_id, self.client = server, app_id, server.admin
        server.install({"appId": app_id, **MANIFEST})
        answer = deploy(server.admin, app_id, files)
        assert answer.status_code == 200, answer.text

    def read(
        self, name: str | None, *, method: str = "changes", by: Any = None, **more: Any
    ) -> Any:
        params = {"entity": "deals", "name": name, **more}
        return result(by or self.client, self.app_id, method, params)

    def titles(self, name: str, **more: Any) -> list[str | None]:
        return [
            change["record"] and change["record"]["title"]
            for change in self.read(name, **more)["seen"]
        ]

    def write(self, *titles: str) -> list[str]:
        path = f"/api/v1/apps/{self.app_id}/collections/deals"
        return [self.client.post(path, json={"title": title}).json()["id"] for title in titles]


@pytest.fixture(scope="module", params=["python", "javascript"])
def app(request: pytest.FixtureRequest, workers: Server) -> App:
    if request.param == "python":
        return App(workers, "cpython", {"worker.py": PYTHON})
    if shutil.which("node") is None and shutil.which("bun") is None:
        pytest.skip("neither node nor bun is here")
    return App(workers, "cjavascript", {"index.js": JAVASCRIPT})


def test_a_reader_goes_on_where_it_stopped(app: App) -> None:
    app.write("before")
    assert app.titles("mirror") == []
    app.write("one", "two")
    assert app.titles("mirror") == ["one", "two"]
    assert app.titles("mirror") == []
    app.write("three")
    assert app.titles("mirror") == ["three"]


def test_what_was_not_handled_comes_again(app: App) -> None:
    app.read("careful")
    app.write("a", "b", "c")
    failed = app.read("careful", fail_after=2)
    assert failed["error"] == "failed"
    assert app.titles("careful") == ["a", "b", "c"]
    assert app.titles("careful") == []


def test_pages_that_were_handled_are_kept(app: App) -> None:
    app.read("paged")
    app.write("a", "b", "c", "d")
    app.read("paged", fail_after=3, options={"limit": 2})
    assert app.titles("paged") == ["c", "d"]


def test_a_change_says_what_happened(app: App) -> None:
    app.read("all")
    [record_id] = app.write("old")
    path = f"/api/v1/apps/{app.app_id}/collections/deals/{record_id}"
    app.client.patch(path, json={"title": "new"})
    app.client.delete(path)
    enter, change, leave = app.read("all")["seen"]
    assert [enter["event"], change["event"], leave["event"]] == ["enter", "change", "leave"]
    assert {event["id"] for event in (enter, change, leave)} == {record_id}
    assert change["old"]["title"] == "old"
    assert (leave["record"], leave["old"]["title"]) == (None, "new")
    assert change["actor"] == app.client.id
    assert change["request"]


def test_conditions_decide_what_enters_and_leaves(app: App) -> None:
    options = {"where": {"title": {"$like": "x%"}}, "fields": ["title"]}
    app.read("some", options=options)
    [record_id] = app.write("other")
    path = f"/api/v1/apps/{app.app_id}/collections/deals/{record_id}"
    for title in ("x1", "x2", "other"):
        app.client.patch(path, json={"title": title})
    events = [change["event"] for change in app.read("some", options=options)["seen"]]
    assert events == ["enter", "change", "leave"]


def test_a_caller_gets_what_it_may_read(app: App) -> None:
    some = app.server.user()
    grant(app.server, some, app.app_id, "deals.read")
    app.read("of_some", by=some)
    path = f"/api/v1/apps/{app.app_id}/collections/deals"
    app.client.post(path, json={"title": "t", "secret": "s"})
    [change] = app.read("of_some", by=some)["seen"]
    assert "secret" not in change["record"]
    stranger = app.server.user()
    grant(app.server, stranger, app.app_id, "deals.create")
    assert "deals.read" in app.read("of_stranger", by=stranger)["error"]


def test_an_update_of_the_app_loses_nothing(app: App) -> None:
    """Changes of before come with the fields of today."""
    app.read("patient")
    app.write("before")
    fields = [*MANIFEST["dataContract"][0]["fields"], {"name": "extra", "type": "number"}]
    app.server.install({
        "appId": app.app_id, "name": "Sales",
        "dataContract": [{"entityName": "deals", "fields": fields}],
    })  # fmt: skip
    app.write("after")
    changes = app.read("patient")["seen"]
    assert [change["record"]["title"] for change in changes] == ["before", "after"]
    assert [change["record"]["extra"] for change in changes] == [None, None]
    assert app.titles("patient") == []


def test_a_reader_goes_on_under_the_new_name_of_its_entity(app: App) -> None:
    app.read("renamed")
    app.write("before")
    [deals] = MANIFEST["dataContract"]
    manifest = {"appId": app.app_id, "name": "Sales"}
    offers = {**deals, "entityName": "offers", "was": "deals"}
    try:
        app.server.install({**manifest, "dataContract": [offers]})
        path = f"/api/v1/apps/{app.app_id}/collections/offers"
        app.client.post(path, json={"title": "after"}).raise_for_status()
        changes = app.read("renamed", entity="offers")["seen"]
        assert [change["record"]["title"] for change in changes] == ["before", "after"]
    finally:
        app.server.install({**manifest, "dataContract": [{**deals, "was": "offers"}]})
    app.write("again deals")
    assert app.titles("renamed") == ["again deals"]


def test_lost_changes_are_reported_and_a_reader_goes_on_behind_them(app: App) -> None:
    app.read("loser")
    app.server.sql(f"truncate {app.app_id}.deals")
    lost = app.read("loser")
    assert lost["lost"] == "trail was off"
    assert app.read("loser")["lost"] == "trail was off"
    app.write("next")
    assert app.titles("loser", options={"since": lost["position"]}) == ["next"]
    assert app.titles("loser") == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a name", {}, "name"),
        ("x" * 65, {}, "name"),
        ("x", {"since": "yesterday"}, "position"),
        ("x", {"wher": {}}, "wher"),
        ("x", {"where": {"titel": 1}}, "titel"),
        ("x", {"where": {"customer_id.name": "x"}}, "a path does not work"),
        ("x", {"limit": -1}, "limit"),
    ],
)
def test_bad_input_is_refused(app: App, name: str, options: dict[str, Any], words: str) -> None:
    assert words in app.read(name, options=options)["error"]


def test_without_a_name_no_position_is_kept(app: App) -> None:
    assert app.read(None)["seen"] == []
    rows = app.server.sql("select name from caudex_workers.positions where name is null")
    assert rows == []


def test_the_app_itself_and_a_def_read_too(app: App) -> None:
    if app.app_id != "cpython":
        pytest.skip("of the Python SDK")
    app.read("own", method="own")
    app.read("waiting", method="blocking")
    app.write("for both")
    assert app.titles("own", method="own") == ["for both"]
    assert app.titles("waiting", method="blocking") == ["for both"]


def test_an_app_has_so_many_readers(app: App) -> None:
    app.server.sql(
        "insert into caudex_workers.positions (app_id, entity, name, position)"
        " select %s, 'deals', 'r' || n, 'x' from generate_series(1, 100) as n"
        " on conflict do nothing",
        app.app_id,
    )
    assert "readers" in app.read("one_more")["error"]
    app.server.sql("delete from caudex_workers.positions where name ~ '^r[0-9]+$'")
