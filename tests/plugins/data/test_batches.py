"""A batch whose neighbours are one statement does what it does operation by operation."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import settings

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    STATEMENTS,
    Actor,
    BadRequest,
    Grant,
    Operation,
    Target,
    server_actor,
)
from kernel.testing import Client, Server
from plugins.data.assembly import Dependencies, build_records
from plugins.data.batches.groups import GroupWriter
from plugins.data.batches.runs import BatchRun
from plugins.data.execution.transactions import MAX_QUICK_STATEMENTS
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, query

BATCH = "/api/v1/apps/shop/batch"
PATHS = {"companies": COMPANIES, "contacts": CONTACTS, "deals": DEALS}
MISSING = "00000000-0000-4000-8000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MOMENT = re.compile(r"[0-9-]+T[0-9:.]+Z")
TAG = re.compile(r'\\"[0-9a-f-]+\\"')
RIGHTS = {
    "own": [f"{name}.{right}" for name in PATHS
            for right in ("create", "read", "update.own", "delete.own")],
    "blind": [f"{name}.{right}" for name in PATHS for right in ("create", "update", "delete")],
}  # fmt: skip


class Mix:
    """Random batches over some records, most of them of neighbours that are alike."""

    def __init__(self, caller: Client, admin: Client) -> None:
        company = add(admin, COMPANIES, name="theirs")
        self.tags: dict[str, str] = {}
        self.ids: dict[str, list[str]] = {name: [] for name in PATHS}
        for n in range(5):
            for entity, data in (
                ("companies", {"name": f"c{n}"}),
                ("contacts", {"email": f"e{n}", "company_id": company["id"]}),
                ("deals", {"title": f"d{n}", "value": n}),
            ):
                made = (admin if n == 0 else caller).post(PATHS[entity], json=data)
                self.ids[entity].append(made.json()["id"])
                self.tags[made.json()["id"]] = made.headers.get("etag", '"none"')
        self.known = {id_ for ids in self.ids.values() for id_ in ids} | {company["id"], MISSING}

    def operations(self, random: Random) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(random.randint(1, 4)):
            op = random.choice(["create", "update", "update", "delete", "upsert", "upsert"])
            entity = "contacts" if op == "upsert" else random.choice([*PATHS])
            shape = random.sample(["email", "company_id", "boss_id", "title", "value", "name"], 4)
            ids = random.sample(self.ids[entity], 5)
            for n in range(random.randint(1, 5)):
                found.append(self._one(random, op, entity, shape, ids[n], len(found)))
        return found

    def _one(
        self, random: Random, op: str, entity: str, shape: list[str], record_id: str, place: int
    ) -> dict[str, Any]:
        odd = random.random
        made: dict[str, Any] = {"op": op, "entity": entity}
        if op != "delete":
            made["data"] = self._data(random, op, entity, shape, place)
            if odd() < 0.3:
                made["as"] = random.choice("abc")
        if op == "upsert":
            made |= {"on": "email", "then": random.choice(["update"] * 4 + ["ignore", "fail"])}
        elif op != "create":
            made["id"] = record_id
            if odd() < 0.05:
                other = random.choice(self.ids[entity])
                made["id"] = random.choice(
                    [other, MISSING, "x", record_id.upper(), {"$ref": "a.id"}]
                )
            if odd() < 0.2:
                made["ifMatch"] = self.tags[record_id] if odd() < 0.9 else '"1-2"'
        return made

    def _data(
        self, random: Random, op: str, entity: str, shape: list[str], place: int
    ) -> dict[str, Any]:
        people = [*self.ids["contacts"], None, {"$ref": f"{random.choice('abc')}.id"}]
        values = {
            "companies": {"name": f"n{random.randint(0, 9)}"},
            "contacts": {
                "email": f"e{random.randint(0, 12)}"
                if op == "upsert" or random.random() < 0.2
                else f"new{place}",
                "company_id": random.choice(self.ids["companies"]),
                "boss_id": random.choice(people[: 6 if random.random() < 0.8 else 7]),
            },
            "deals": {"title": "t", "value": random.randint(0, 9)},
        }[entity]
        if op == "update":
            values = {name: values[name] for name in shape if name in values}
        if random.random() < 0.03:
            wrong = [("valu", 1), ("email", "e1"), ("value", "x"), ("company_id", MISSING)]
            values |= [random.choice(wrong)]
        return values


def send(client: Client, operations: list[dict[str, Any]]) -> httpx.Response:
    return client.post(BATCH, json={"operations": operations, "dryRun": True})


def plain(answer: httpx.Response, known: set[str]) -> tuple[int, str]:
    """The reply without what two runs never share: new ids, moments and tags."""
    new: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in known else new.setdefault(found[0], f"#{len(new)}")

    return answer.status_code, TAG.sub("E", MOMENT.sub("T", UUID.sub(named, answer.text)))


def both(
    client: Client, mix: Mix, operations: list[dict[str, Any]], patch: pytest.MonkeyPatch
) -> tuple[tuple[int, str], tuple[int, str]]:
    grouped = plain(send(client, operations), mix.known)
    with patch.context() as alone:
        alone.setattr(BatchRun, "_may_join", lambda *_: False)
        return grouped, plain(send(client, operations), mix.known)


def compare(shop: Server, who: str, seeds: range, patch: pytest.MonkeyPatch) -> list[int]:
    empty(shop)
    client = shop.admin if who == "admin" else holding(shop, *RIGHTS[who])
    mix, statuses = Mix(client, shop.admin), list[int]()
    for seed in seeds:
        operations = mix.operations(Random(seed))
        grouped, alone = both(client, mix, operations, patch)
        assert grouped == alone, f"seed {seed}: {operations}"
        statuses.append(grouped[0])
    return statuses


@pytest.mark.parametrize("who", ["admin", *RIGHTS])
def test_neighbours_do_together_what_they_do_alone(
    shop: Server, who: str, monkeypatch: pytest.MonkeyPatch
):
    assert 200 in compare(shop, who, range(12), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["admin", *RIGHTS])
def test_many_mixes(shop: Server, who: str, monkeypatch: pytest.MonkeyPatch):
    count = settings().max_examples
    statuses = compare(shop, who, range(1000, 1000 + count), monkeypatch)
    assert statuses.count(200) > count // 6
    assert {400, 404} <= {*statuses}


def update(entity: str, record_id: str, **data: Any) -> dict[str, Any]:
    return {"op": "update", "entity": entity, "id": record_id, "data": data}


def delete(entity: str, record_id: str) -> dict[str, Any]:
    return {"op": "delete", "entity": entity, "id": record_id}


def upsert(email: str, **data: Any) -> dict[str, Any]:
    return {"op": "upsert", "entity": "contacts", "on": "email", "data": {"email": email, **data}}


def test_what_is_one_statement(shop: Server, monkeypatch: pytest.MonkeyPatch):
    empty(shop)
    admin, sizes, write = shop.admin, list[int](), GroupWriter.write

    async def counted(self: Any, tx: Any, group: Any) -> Any:
        sizes.append(len(group))
        return await write(self, tx, group)

    monkeypatch.setattr(GroupWriter, "write", counted)
    a, b, c = (add(admin, DEALS, title=name)["id"] for name in "abc")
    d, e = (add(admin, CONTACTS, email=name)["id"] for name in "de")
    answer = admin.post(BATCH, json={"operations": [
        update("deals", a, value=1), update("deals", b, value=2),  # the same fields
        update("deals", c, value=3, title="x"),
        update("deals", c, value=4),  # others, and c twice
        update("contacts", d, email="x"), update("contacts", e, email="y"),  # a unique field
        upsert("x"), upsert("y"), upsert("z"),
        upsert("z"),  # the same key
        delete("deals", a), delete("deals", b),
        delete("contacts", d), delete("contacts", e),  # contacts have links to contacts
    ]})  # fmt: skip
    assert answer.status_code == 200, answer.text
    hooked = any(plugin.name == "shopwitness" for plugin in shop.kernel.instances)
    expected = [2, 1, 1, 1, 1, 3, 1, 2, 1, 1]
    if hooked:  # upserts keep the order of their keys, other writes are seen one by one
        expected = [1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1]
    assert sizes == expected
    values = [each["record"].get("value") for each in answer.json()["results"][:4]]
    assert values == [1, 2, 3, 4]
    assert [each["id"] for each in answer.json()["results"][:2]] == [a, b]
    assert query(admin, DEALS)["total"] == 1
    left = query(admin, CONTACTS)["data"]
    assert [each["email"] for each in left] == ["z"]


def test_each_record_of_a_statement_has_its_own_tag_and_trail(shop: Server):
    empty(shop)
    admin = shop.admin
    made = [admin.post(DEALS, json={"title": str(n)}) for n in range(6)]
    ids = [each.json()["id"] for each in made]
    changes = [
        update("deals", each.json()["id"], value=n) | {"ifMatch": each.headers["etag"]}
        for n, each in enumerate(made)
    ]
    answer = admin.post(
        BATCH, json={"operations": [*changes, *(delete("deals", i) for i in ids[:3])]}
    )
    assert answer.status_code == 200, answer.text
    for done in answer.json()["results"][3:6]:
        assert done["etag"] == admin.get(f"{DEALS}/{done['id']}").headers["etag"]
    trail = shop.sql(
        "select operation, record_id from caudex_audit.log where request_id = %s order by id",
        answer.headers["x-request-id"],
    )
    assert sorted(trail) == sorted(
        [("UPDATE", each) for each in ids] + [("DELETE", each) for each in ids[:3]]
    )
    again = admin.post(BATCH, json={"operations": changes[3:]})
    assert again.status_code == 412
    assert again.json()["error"].startswith("[0] ")
    assert again.json()["current"]["value"] == 3


def test_records_of_one_statement_have_the_tag_that_a_read_shows(shop: Server):
    empty(shop)
    admin = shop.admin
    operations = [
        {"op": "create", "entity": "deals", "data": {"title": str(n), "value": n}} for n in range(4)
    ]
    answer = admin.post(BATCH, json={"operations": operations})
    for n, done in enumerate(answer.json()["results"]):
        read = admin.get(f"{DEALS}/{done['id']}")
        assert (done["op"], done["etag"]) == ("create", read.headers["etag"])
        assert done["record"] == read.json()
        assert done["record"]["title"] == str(n)


def test_a_bulk_changes_many_records_at_once(shop: Server):
    empty(shop)
    rows = [{"email": f"e{n}"} for n in range(5)]
    path, company = f"{CONTACTS}/bulk?on=email", add(shop.admin, COMPANIES, name="c")["id"]
    shop.admin.post(path, json=rows)
    rows = [{**row, "company_id": company} for row in [*rows, {"email": "new"}]]
    done = shop.admin.post(path, json=[*rows, {"email": None}, {"email": "e9"}]).json()["data"]
    assert [each["result"] for each in done] == [*["updated"] * 5, *["created"] * 3]
    assert [each["record"]["email"] for each in done[:5]] == [f"e{n}" for n in range(5)]
    assert {each["record"]["company_id"] for each in done[:6]} == {company}


class Recorder:
    """Statements that remember which transactions were quick."""

    def __init__(self, statements: Any) -> None:
        self.quick: list[bool] = []
        self._statements = statements

    async def run(self, actor: Actor, fn: Any, *, subject: str = "", quick: bool = True) -> Any:
        self.quick.append(quick)
        return await self._statements.run(actor, fn, subject=subject, quick=quick)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._statements, name)


def test_many_statements_leave_the_connections_of_quick_work_alone(shop: Server):
    empty(shop)
    get = shop.services.get
    recorder: Any = Recorder(get(STATEMENTS))
    service = build_records(Dependencies(recorder, get(APPS), get(HOOKS), lambda: get(ACCESS)))
    actor = server_actor()
    target = Target(actor, Grant(), "shop", "companies")
    creation = Operation(op="create", entity="companies", data={"name": "a"})

    async def run_batch(number: int) -> list[bool]:
        recorder.quick.clear()
        await service.batch(actor, "shop", [creation] * number, dry_run=True)
        return recorder.quick[-1:]

    async def find_wrong_row(number: int) -> list[bool]:
        recorder.quick.clear()
        rows = [*[{"name": "a"}] * (number - 1), {"name": "wrong"}]
        with pytest.raises(BadRequest, match=rf"^\[{number - 1}\] "):
            await service.create_many(target, rows)
        return recorder.quick[-1:]

    shop.sql("alter table shop.companies add constraint by_hand check (name <> 'wrong')")
    try:
        for call in (run_batch, find_wrong_row):
            assert shop.run(call, MAX_QUICK_STATEMENTS) == [True]
            assert shop.run(call, MAX_QUICK_STATEMENTS + 1) == [False]
    finally:
        shop.sql("alter table shop.companies drop constraint by_hand")
