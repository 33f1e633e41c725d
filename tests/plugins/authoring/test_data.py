"""Records go to files and back, in a stream; a manifest is pulled."""

from __future__ import annotations

import json

import pytest

from kernel.testing import Server

from .support import Author

MANIFEST = {
    "appId": "goods",
    "name": "Goods",
    "dataContract": [
        {
            "entityName": "parts",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "price", "type": "number"},
            ],
            "indexes": [{"columns": ["name"], "unique": True}],
        }
    ],
}
PARTS = ("parts", "--app", "goods")


@pytest.fixture
def goods(author: Author, server: Server) -> Author:
    server.install(MANIFEST)
    records = server.admin.get("/api/v1/apps/goods/collections/parts").json()
    for record in records:
        server.admin.delete(f"/api/v1/apps/goods/collections/parts/{record['id']}")
    return author


def load(author: Author, text: str, *words: str, file: str = "parts.csv") -> object:
    (author.folder / file).write_text(text, "utf-8")
    return author.json("data", "import", "parts", file, "--app", "goods", *words)


def test_records_go_out_and_come_back(goods: Author) -> None:
    report = load(goods, 'name,price\n"Nut, small",1\nBolt,2.5\n')
    assert (report["created"], report["errors"]) == (2, [])
    answer = goods.json("data", "export", *PARTS, "out.ndjson")
    assert answer["bytes"] == (goods.folder / "out.ndjson").stat().st_size
    rows = [json.loads(line) for line in (goods.folder / "out.ndjson").read_text().splitlines()]
    assert {row["name"]: row["price"] for row in rows} == {"Nut, small": 1, "Bolt": 2.5}
    text = (goods.folder / "out.ndjson").read_text("utf-8").replace("2.5", "3")
    report = load(goods, text, "--on", "name", file="again.ndjson")
    assert (report["created"], report["updated"]) == (0, 2)


def test_an_export_has_the_fields_and_records_that_are_named(goods: Author) -> None:
    load(goods, "name,price\nNut,1\nBolt,2\n")
    where = '{"price": {"$gt": 1}}'
    goods.ok("data", "export", *PARTS, "out.csv", "--fields", "name", "--where", where)
    lines = (goods.folder / "out.csv").read_text("utf-8").splitlines()
    assert lines[0] == "id,name"
    assert [line.partition(",")[2] for line in lines[1:]] == ["Bolt"]


def test_a_dry_run_writes_nothing(goods: Author, server: Server) -> None:
    assert load(goods, "name\nNut\n", "--dry-run")["created"] == 1
    assert server.admin.get("/api/v1/apps/goods/collections/parts").json() == []


def test_a_wrong_row_is_named_and_refuses_the_file(goods: Author, server: Server) -> None:
    (goods.folder / "bad.csv").write_text("name,price\nNut,1\n,2\n", "utf-8")
    ended = goods.run("data", "import", "parts", "bad.csv", "--app", "goods")
    assert ended.status == 1
    assert "row 2: parts.name is required" in ended.out
    assert server.admin.get("/api/v1/apps/goods/collections/parts").json() == []
    report = load(goods, "name,price\nNut,1\n,2\n", "--mode", "valid")
    assert (report["created"], len(report["errors"])) == (1, 1)


def test_a_refused_export_leaves_the_former_file(goods: Author) -> None:
    (goods.folder / "out.csv").write_text("before", "utf-8")
    refusal = goods.refused("data", "export", "nothing", "out.csv", "--app", "goods")
    assert refusal == "entity 'nothing' not found in app 'goods'"
    assert (goods.folder / "out.csv").read_text("utf-8") == "before"
    assert [path.name for path in goods.folder.glob(".new*")] == []


def test_what_cannot_be_read_or_asked_for_is_refused(goods: Author) -> None:
    assert "no such file" in goods.refused("data", "import", "parts", "none.csv", "--app", "goods")
    assert goods.run("data", "export", *PARTS, "--where", "{").status == 2
    assert goods.run("data", "export", *PARTS, "--json").status == 2
    assert goods.run("data", "export").status == 2


def test_a_manifest_is_pulled_and_replaced_on_request_only(goods: Author) -> None:
    assert goods.json("app", "pull", "--app", "goods")["state"] == "created"
    pulled = json.loads((goods.folder / "manifest.json").read_text("utf-8"))
    assert pulled["dataContract"] == MANIFEST["dataContract"]
    assert goods.json("app", "pull")["state"] == "unchanged"
    goods.edit("manifest.json", '"Goods"', '"Wares"')
    assert "differs" in goods.refused("app", "pull")
    assert goods.json("app", "pull", "--force")["state"] == "changed"
    assert '"Goods"' in (goods.folder / "manifest.json").read_text("utf-8")
