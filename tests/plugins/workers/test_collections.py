"""What workers can do with records: everything that the routes can, in both languages."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.workers.support import deploy, grant, result

pytestmark = pytest.mark.slow

PYTHON = """
from caudex_worker import CollectionError, Worker

worker = Worker()

async def act(collection, params):
    for mark, value in params["marks"].items():
        collection = getattr(collection, mark)(value)
    try:
        return await getattr(collection, params["method"])(*params["args"], **params["options"])
    except CollectionError as error:
        return {"error": str(error), "status": error.status, "current": error.current}

@worker.rpc
async def do(params, ctx):
    return await act(ctx.collection(params["entity"]), params)

@worker.rpc
async def own(params, ctx):
    return await act(worker.collection(params["entity"]), params)

worker.run()
"""
JAVASCRIPT = """
serve({ async do({ entity, method, args, options, marks }, caller, ctx) {
  let collection = ctx.collection(entity);
  for (const [mark, value] of Object.entries(marks)) collection = collection[mark](value);
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const entries = Object.entries(options).map(([name, value]) => [camel(name), value]);
  const given = entries.length ? [...args, Object.fromEntries(entries)] : args;
  try {
    return await collection[method](...given);
  } catch (error) {
    return { error: error.message, status: error.status, current: error.current ?? null };
  }
} });
"""
MANIFEST = {
    "name": "Sales",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [{"name": "name", "type": "text", "required": True}],
            "indexes": [{"columns": ["name"], "unique": True}],
            "search": {"fields": ["name"]},
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "value", "type": "number"},
                {"name": "secret", "type": "text", "access": {"read": "boss", "write": "boss"}},
                {
                    "name": "company_id",
                    "type": "entity_link",
                    "references": {"entity": "companies"},
                },
            ],
        },
    ],
}
NAMES = {
    "query": "query", "export": "export", "import_file": "importFile",
    "insert_many": "insertMany", "upsert": "upsert", "update_where": "updateWhere",
    "delete_where": "deleteWhere", "batch": "batch", "insert": "insert", "update": "update",
    "delete": "delete", "find": "find", "once": "once", "if_match": "ifMatch",
}  # fmt: skip


class App:
    """An app with a worker that does what it is asked to do with records."""

    def __init__(self, server: Server, app_id: str, files: dict[str, str]) -> None:
        self.server, self.app_id, self.client = server, app_id, server.admin
        self._camel = "index.js" in files
        answer = server.admin.post("/api/v1/apps", json={"appId": app_id, **MANIFEST})
        assert answer.status_code == 200, answer.text
        answer = deploy(server.admin, app_id, files)
        assert answer.status_code == 200, answer.text

    def do(
        self,
        entity: str,
        method: str,
        *args: Any,
        by: Client | None = None,
        call: str = "do",
        marks: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        spelled = {self._name(mark): value for mark, value in (marks or {}).items()}
        params = {
            "entity": entity, "method": self._name(method), "args": args, "options": options,
            "marks": spelled,
        }  # fmt: skip
        return result(by or self.client, self.app_id, call, params)

    def _name(self, name: str) -> str:
        return NAMES[name] if self._camel else name

    def empty(self) -> None:
        for entity in ("deals", "companies"):
            self.server.sql(f"delete from {self.app_id}.{entity}")


@pytest.fixture(scope="module", params=["python", "javascript"])
def running(request: pytest.FixtureRequest, workers: Server) -> App:
    if request.param == "python":
        return App(workers, "wpython", {"worker.py": PYTHON})
    if shutil.which("node") is None and shutil.which("bun") is None:
        pytest.skip("neither node nor bun is here")
    return App(workers, "wjavascript", {"index.js": JAVASCRIPT})


@pytest.fixture
def app(running: App) -> App:
    running.empty()
    return running


def filled(app: App) -> list[str]:
    """Two companies and three deals; return the ids of the companies."""
    operations = [
        {"op": "create", "entity": "companies", "as": "acme", "data": {"name": "Acme"}},
        {"op": "create", "entity": "companies", "as": "bolt", "data": {"name": "Bolt"}},
        *(
            {
                "op": "create",
                "entity": "deals",
                "data": {"title": title, "value": value, "company_id": {"$ref": f"{name}.id"}},
            }
            for title, value, name in (("a", 1, "acme"), ("b", 2, "acme"), ("c", 4, "bolt"))
        ),
    ]
    done = app.do("companies", "batch", operations)
    assert [each["op"] for each in done["results"]] == ["create"] * 5, done
    return [each["id"] for each in done["results"][:2]]


def test_queries_show_expand_group_and_search(app: App):
    acme, _ = filled(app)
    found = app.do(
        "deals", "query", {"value": {"$gt": 1}}, fields=["title"], expand=["company_id"],
        order_by="title", order="asc", limit=1,
    )  # fmt: skip
    assert found["total"] == 2
    [deal] = found["data"]
    assert set(deal) == {"id", "title", "expand"}
    assert deal["title"] == "b"
    assert deal["expand"]["company_id"]["name"] == "Acme"
    sums = app.do(
        "deals", "query", {}, group_by=["company_id"], aggregate={"sum": {"$sum": "value"}},
        having={"sum": {"$lt": 4}},
    )  # fmt: skip
    assert sums == {"data": [{"company_id": acme, "sum": 3}], "total": 1}
    found = app.do("companies", "query", {}, search="bol")
    assert [each["name"] for each in found["data"]] == ["Bolt"]
    some = {"deals_via_company_id": {"$some": {"title": "c"}}}
    assert app.do("companies", "query", some, total=False)["data"] == found["data"]
    refused = app.do("deals", "query", {"valeu": 1})
    assert refused["status"] == 400
    assert "value" in refused["error"]


def test_a_record_that_has_changed_is_not_overwritten(app: App):
    acme, _ = filled(app)
    [record] = app.do("companies", "query", {"id": acme}, etag=True)["data"]
    marks = {"if_match": record["_etag"]}
    changed = app.do("companies", "update", {"id": acme, "name": "Acme 2"}, marks=marks)
    assert changed["name"] == "Acme 2"
    refused = app.do("companies", "update", {"id": acme, "name": "Acme 3"}, marks=marks)
    assert (refused["status"], refused["current"]["name"]) == (412, "Acme 2")
    refused = app.do("companies", "delete", acme, marks=marks)
    assert (refused["status"], refused["current"]["name"]) == (412, "Acme 2")
    refused = app.do("companies", "insert", {"name": "x"}, marks=marks)
    assert refused["error"] == "ifMatch does not go with insert"


def test_many_records_are_written_at_once(app: App):
    made = app.do("companies", "insert_many", [{"name": "a"}, {"name": "b"}])
    assert [each["name"] for each in made] == ["a", "b"]
    done = app.do("companies", "upsert", [{"name": "b"}, {"name": "c"}], "name")
    assert [each["result"] for each in done["data"]] == ["updated", "created"]
    where = {"name": {"$in": ["a", "b"]}}
    refused = app.do("companies", "update_where", where, {"name": "z"}, expect=1)
    assert refused["status"] == 400
    assert app.do("companies", "update_where", {"name": "c"}, {"name": "z"}, expect=1) == {
        "updated": 1
    }
    assert app.do("companies", "delete_where", where, max=5) == {"deleted": 2}
    refused = app.do("companies", "delete_where", {})
    assert refused["error"] == "1 records match: name the number by expect or max"
    operations = [
        {"op": "create", "entity": "companies", "data": {"name": "y"}},
        {"op": "create", "entity": "deals", "data": {"titel": "y"}},
    ]
    refused = app.do("companies", "batch", operations)
    assert refused["error"].startswith("[1] ")
    assert [each["name"] for each in app.do("companies", "find")] == ["z"]
    done = app.do("companies", "batch", operations[:1], dry_run=True)
    assert done["results"][0]["record"]["name"] == "y"
    assert [each["name"] for each in app.do("companies", "find")] == ["z"]


def test_files_of_records_go_out_and_in(app: App):
    filled(app)
    text = app.do("deals", "export", {}, fields=["title", "value"], order_by="title", order="asc")
    lines = [line.partition(",")[2] for line in text.splitlines()]
    assert lines == ["title,value", "a,1", "b,2", "c,4"]
    lines = app.do("deals", "export", {"title": "a"}, format="ndjson").splitlines()
    assert len(lines) == 1
    text = "name\r\nAcme\r\nNew\r\n"
    report = app.do("companies", "import_file", text, on="name", dry_run=True)
    assert report == {"rows": 2, "valid": 2, "created": 1, "updated": 1, "errors": []}
    report = app.do("companies", "import_file", '{"name": null}', format="ndjson", mode="valid")
    assert report["errors"] == [
        {"row": 1, "field": "name", "value": None, "error": "companies.name is required"}
    ]


def test_writes_of_many_take_a_key(app: App):
    app.server.sql("truncate caudex_idempotency.keys")
    marks = {"once": "k1"}
    for _ in range(2):
        made = app.do("companies", "insert_many", [{"name": "a"}], marks=marks)
        done = app.do("companies", "upsert", [{"name": "a"}, {"name": "b"}], "name", marks=marks)
        assert [each["result"] for each in done["data"]] == ["updated", "created"]
        gone = app.do("companies", "delete_where", {"name": "b"}, expect=1, marks=marks)
        assert gone == {"deleted": 1}
        batch = [{"op": "create", "entity": "companies", "data": {"name": "c"}}]
        assert len(app.do("companies", "batch", batch, marks=marks)["results"]) == 1
        report = app.do("companies", "import_file", "name\nd\n", marks=marks)
        assert report["created"] == 1
        done = app.do("companies", "update", {"id": made[0]["id"], "name": "a"}, marks=marks)
        assert done["name"] == "a"
    names = [each["name"] for each in app.do("companies", "find")]
    assert sorted(names) == ["a", "c", "d"]


def test_rights_are_those_of_the_caller(app: App):
    filled(app)
    user = app.server.user()
    grant(app.server, user, app.app_id, "deals.read.own", "deals.create", "deals.update.own")
    mine = app.do("deals", "insert", {"title": "mine", "value": 9}, by=user)
    found = app.do("deals", "query", {}, expand=["company_id"], by=user)
    assert found["total"] == 1
    [deal] = found["data"]
    assert (deal["id"], deal["expand"]["company_id"]) == (mine["id"], None)
    assert "secret" not in deal
    sums = app.do("deals", "query", {}, aggregate={"sum": {"$sum": "value"}}, by=user)
    assert sums["data"] == [{"sum": 9}]
    for where in ({"secret": "x"}, {"nothing": "x"}):
        refused = app.do("deals", "query", where, by=user)
        assert refused["status"] == 400
        assert f"deals has no field {next(iter(where))!r}" in refused["error"]
    changed = app.do("deals", "update_where", {}, {"value": 1}, expect=1, by=user)
    assert changed == {"updated": 1}
    text = app.do("deals", "export", {}, by=user)
    assert text.count("\r\n") == 2
    assert "secret" not in text
    for method, args, options in (
        ("delete_where", [{}], {"expect": 1}),
        ("query", [{}], {}),
        ("export", [{}], {}),
        ("insert_many", [[{"name": "x"}]], {}),
        ("upsert", [[{"name": "x"}], "name"], {}),
        ("import_file", ["name\nx\n"], {}),
        ("batch", [[{"op": "create", "entity": "companies", "data": {"name": "x"}}]], {}),
    ):
        entity = "deals" if method == "delete_where" else "companies"
        for marks in ({}, {"once": "k"}):
            refused = app.do(entity, method, *args, by=user, marks=marks, **options)
            assert refused["status"] == 403, (method, refused)


def test_the_app_itself_has_every_right(app: App):
    if app.app_id != "wpython":
        pytest.skip("in JavaScript each operation is part of a call")
    filled(app)
    user = app.server.user()
    grant(app.server, user, app.app_id, "companies.read")
    found = app.do("deals", "query", {}, aggregate={"n": {"$count": "*"}}, by=user, call="own")
    assert found["data"] == [{"n": 3}]
    assert app.do("deals", "query", {}, by=user)["status"] == 403
