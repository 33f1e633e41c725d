"""Dry runs of imports: they write nothing, and say what the import would."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator
from typing import Any

import anyio.to_thread
import pytest

from kernel.testing import Postgres, Server, running_server
from plugins.data.exchange import parse
from plugins.data.imports.dry_runs import DryRun, JudgedRows
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import refused

APP = "/api/v1/apps/stock"
BASE = f"{APP}/collections"
CSV = {"content-type": "text/csv"}
NDJSON = {"content-type": "application/x-ndjson"}
MISSING = "00000000-0000-7000-8000-000000000000"
MANIFEST: dict[str, Any] = {
    "appId": "stock",
    "name": "Stock",
    "dataContract": [
        {
            "entityName": "places",
            "fields": [{"name": "code", "type": "text", "required": True}],
            "indexes": [{"columns": ["code"], "unique": True}],
        },
        {
            "entityName": "items",
            "fields": [
                {"name": "sku", "type": "text"},
                {"name": "label", "type": "text"},
                {"name": "count", "type": "number"},
                {"name": "place", "type": "entity_link", "references": {"entity": "places"}},
            ],
            "indexes": [
                {"columns": ["sku"], "unique": True},
                {"columns": ["label", "count"], "unique": True},
            ],
        },
        {
            "entityName": "parts",
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "whole", "type": "entity_link", "references": {"entity": "parts"}},
                {"name": "place", "type": "entity_link", "references": {"entity": "places"}},
                {"name": "note", "type": "text"},
            ],
            "indexes": [{"columns": ["name"], "unique": True}],
        },
        {
            "entityName": "codes",
            "fields": [
                {"name": "id", "type": "text"},
                {"name": "size", "type": "number", "default_value": 1},
            ],
            "indexes": [{"columns": ["size"], "unique": True}],
        },
        {
            "entityName": "sums",
            "fields": [
                {"name": "a", "type": "text"},
                {"name": "b", "type": "text", "generated": {"$lower": "a"}},
            ],
            "indexes": [{"columns": ["b"], "unique": True}],
        },
    ],
}
BY_HAND = """
create function stock.refuse() returns trigger language plpgsql as
    $$begin
        if new.count > 2 then raise 'no' using errcode = 'check_violation'; end if;
        return new;
    end$$;
create trigger by_hand before insert on stock.items
    for each row execute function stock.refuse()
"""
ENTITIES = [entity["entityName"] for entity in MANIFEST["dataContract"]]


@pytest.fixture(scope="module")
def stock(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides()) as running:
        answer = running.admin.post("/api/v1/apps", json=MANIFEST)
        assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture
def server(stock: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Two places; a part of a file has four rows."""
    monkeypatch.setattr(parse, "CHUNK_ROWS", 4)
    stock.sql("truncate " + ", ".join(f"stock.{name}" for name in ENTITIES))
    stock.sql("insert into stock.places (code) values ('north'), ('south')")
    return stock


@pytest.fixture
def unwritten(server: Server) -> Generator[Server]:
    """A server where each write of a row fails, by a rule of a plugin."""
    server.sql("create schema caudex_probe")
    server.sql(
        "create function caudex_probe.refuse() returns trigger language plpgsql as"
        " $$begin raise 'written' using errcode = 'check_violation'; end$$"
    )
    for name in ENTITIES:
        server.sql(
            f"create trigger refuse before insert or update on stock.{name}"
            " for each row execute function caudex_probe.refuse()"
        )
    yield server
    server.sql("drop schema caudex_probe cascade")


def send(server: Server, entity: str, text: str, **params: str) -> dict[str, Any]:
    kind = NDJSON if text.startswith("{") else CSV
    answer = server.admin.post(
        f"{BASE}/{entity}/import", content=text.encode(), params=params, headers=kind
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def records(server: Server, entity: str) -> list[tuple[Any, ...]]:
    return server.sql(f"select t.*, t.xmin::text from stock.{entity} as t order by id")


def tried(server: Server, entity: str, text: str, **params: str) -> dict[str, Any]:
    """The report of a dry run, which is that of the import and changes nothing."""
    before = records(server, entity)
    report = send(server, entity, text, dryRun="true", **params)
    assert records(server, entity) == before
    assert send(server, entity, text, mode="valid", **params) == report
    return report


def place_of(server: Server, code: str) -> str:
    [[place]] = server.sql("select id::text from stock.places where code = %s", code)
    return place


def add(server: Server, sku: str, label: str, count: int) -> str:
    [[item]] = server.sql(
        "insert into stock.items (sku, label, count) values (%s, %s, %s) returning id::text",
        sku, label, count,
    )  # fmt: skip
    return item


@pytest.mark.parametrize(
    ("entity", "text", "params"),
    [
        ("items", "sku,count\n" + "".join(f"s{number},1\n" for number in range(9)), {}),
        ("items", "sku,place.code\na,north\nb,south\nc,\n", {}),
        ("items", "sku,place.code,count\na,north,1\nb,south,2\n", {"on": "sku"}),
        ("items", "id,sku,count\n,a,1\n,b,2\n", {"on": "id"}),
        ("parts", "name,note\na,x\nb,y\na,z\nc,\nb,y\n", {"on": "name"}),
        ("parts", "name,place.code\na,north\n", {}),
    ],
)
def test_nothing_is_written(unwritten: Server, entity: str, text: str, params: dict[str, str]):
    """Neither the first part nor a later one, with keys of links and with `on` too."""
    report = send(unwritten, entity, text, dryRun="true", **params)
    assert report["valid"] == report["rows"] > 0
    done = send(unwritten, entity, text, **params)
    assert done["valid"] == 0
    assert "breaks a rule" in done["errors"][0]["error"]


def test_records_that_rows_meet_are_not_written(server: Server):
    add(server, "a", "x", 1)
    before = records(server, "items")
    report = send(server, "items", "sku,label,count\na,y,1\nb,z,2\n", on="sku", dryRun="true")
    assert (report["created"], report["updated"]) == (1, 1)
    assert records(server, "items") == before


def test_others_write_the_same_records_meanwhile(server: Server, monkeypatch: pytest.MonkeyPatch):
    """A dry run locks nothing: it is held after its first part, as others change what it met."""
    add(server, "a", "x", 1)
    is_tested = threading.Event()
    may_go_on = threading.Event()
    judge = DryRun.judge

    async def judge_and_wait(*args: Any) -> JudgedRows:
        verdict = await judge(*args)
        is_tested.set()
        await anyio.to_thread.run_sync(may_go_on.wait, 30)
        return verdict

    monkeypatch.setattr(DryRun, "judge", judge_and_wait)
    reports: list[dict[str, Any]] = []
    text = "sku,label\n" + "".join(f"{sku},new {sku}\n" for sku in "abcde")
    work = threading.Thread(
        target=lambda: reports.append(send(server, "items", text, on="sku", dryRun="true"))
    )
    work.start()
    assert is_tested.wait(30)
    try:
        server.sql("set lock_timeout = '5s'; update stock.items set label = 'mine'")
        server.sql("set lock_timeout = '5s'; insert into stock.items (sku) values ('b')")
    finally:
        may_go_on.set()
        work.join(30)
    assert (reports[0]["created"], reports[0]["updated"]) == (4, 1)


def test_a_preview_is_shown_and_taken_back(server: Server):
    place = place_of(server, "north")
    text = "sku,place.code,count\na,north,1\nb,nowhere,2\na,south,3\nc,south,4\n"
    report = send(server, "items", text, dryRun="true", preview="3")
    [shown] = report["preview"]
    assert (shown["row"], shown["record"]["sku"], shown["record"]["place"]) == (1, "a", place)
    assert [problem["row"] for problem in report["errors"]] == [2, 3]
    assert (report["valid"], records(server, "items")) == (2, [])


# --- the report is that of the import


def random_file(server: Server, source: random.Random, header: list[str]) -> str:
    """A file about few values, so that rows collide with records and with each other."""
    places = [*(place for [place] in server.sql("select id::text from stock.places")), MISSING, ""]
    items = [*(item for [item] in server.sql("select id::text from stock.items")), MISSING, ""]
    choices: dict[str, list[str]] = {
        "id": items,
        "sku": ["a", "b", "c", "d", "e", "f", "g", ""],
        "label": ["x", "y", ""],
        "count": ["1", "2", "3", "4", "5", "wrong"],
        "place": places,
        "place.code": ["north", "south", "nowhere", ""],
    }
    lines = [",".join(source.choice(choices[name]) for name in header) for _ in range(14)]
    return "\n".join([",".join(header), *lines]) + "\n"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("header", "params"),
    [
        ("sku,count", {}),
        ("sku,label,count,place", {}),
        ("sku,place.code", {}),
        ("sku,place", {"on": "sku"}),
        ("sku,label,count,place.code", {"on": "sku"}),
        ("label,count,sku", {"on": "label,count"}),
        ("id,sku,place", {"on": "id"}),
        ("id,label,count,sku", {"on": "id"}),
        ("id,count", {"on": "id", "create": "ids"}),
    ],
)
def test_a_dry_run_says_what_the_import_would(
    server: Server, seed: int, header: str, params: dict[str, str]
):
    source = random.Random(f"{seed} {header}")
    for sku, label, count in (("a", "x", 1), ("b", "y", 2), ("c", "x", 3)):
        add(server, sku, label, count)
    tried(server, "items", random_file(server, source, header.split(",")), **params)


def test_the_first_of_two_rows_with_one_value_has_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parse, "CHUNK_ROWS", 20)
    writer = server.user()
    rights = ["items.create", "items.read", "items.update.own"]
    body: dict[str, Any] = {"name": "own", "permissions": rights}
    assert server.admin.post(f"{APP}/roles", json=body).status_code == 200
    body = {"userId": writer.id, "role": "own"}
    assert server.admin.post(f"{APP}/roles/assign", json=body).status_code == 200
    lines = ["sku,label,count"]
    for place in range(9):
        is_new = place in (1, 8)
        lines.append(f"s{place},new,5" if is_new else f"s{place},old,{place}")
        if not is_new:
            add(server, f"s{place}", "old", place)
    answer = writer.post(
        f"{BASE}/items/import", content="\n".join(lines).encode(),
        params={"on": "sku", "dryRun": "true"}, headers=CSV,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    errors = {error["row"]: error["error"] for error in answer.json()["errors"]}
    assert sorted(errors) == [1, *range(3, 10)]  # of rows 2 and 9 the second
    assert errors[9] == "items.label, count: this combination is already taken"


def test_a_value_that_an_earlier_row_frees_is_free(server: Server):
    first = add(server, "a", "x", 1)
    second = add(server, "b", "x", 2)
    text = f"id,sku\n{first},z\n{second},a\n"
    assert tried(server, "items", text, on="id")["updated"] == 2


def test_rows_may_link_to_records_of_their_own_table(server: Server):
    server.sql("insert into stock.parts (name) values ('root')")
    text = "name,whole.name\nx,root\ny,x\nz,nothing\n"
    report = tried(server, "parts", text)
    assert (report["created"], report["errors"][0]["row"]) == (2, 3)


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("codes", "id\na\nb\n"),  # both have the default of a unique field
        ("codes", "id,size\na,1\nb,2\nc,3\nd,4\na,5\n"),
        ("sums", "a\nX\nx\n"),
        ("parts", '{"name": "a", "note": "x"}\n{"name": "b"}\n{"name": "a"}\n'),
    ],
)
def test_what_only_postgresql_can_judge_is_judged_by_it(server: Server, entity: str, text: str):
    assert len(tried(server, entity, text)["errors"]) == 1


@pytest.mark.parametrize(
    "rule",
    [
        "alter table stock.items add constraint few check (count < 3)",
        "create unique index by_hand on stock.items (lower(label))",
        "create unique index by_hand on stock.items (count)",
        BY_HAND,
    ],
)
def test_rules_that_were_made_by_hand_count(server: Server, rule: str):
    server.sql(rule)
    try:
        report = tried(server, "items", "sku,label,count\na,x,1\nb,y,2\nc,X,3\nd,z,1\n")
    finally:
        server.sql("alter table stock.items drop constraint if exists few")
        server.sql("drop index if exists stock.by_hand")
        server.sql("drop function if exists stock.refuse cascade")
    assert report["errors"]


def test_a_text_that_no_index_takes_is_refused(server: Server):
    noise = random.Random(1)
    text = "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(4000))
    report = tried(server, "items", f"sku\na\n{text}\n")
    assert [problem["row"] for problem in report["errors"]] == [2]


def test_a_wrong_header_refuses_a_dry_run_as_well(server: Server):
    answer = server.admin.post(
        f"{BASE}/items/import", content=b"skuu\n1\n", params={"dryRun": "true"}, headers=CSV
    )
    assert "did you mean 'sku'" in refused(answer)
