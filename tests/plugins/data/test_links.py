"""A link leads to what its writer may read, where that is not every record: by every door."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Generator
from copy import deepcopy
from typing import Any

import httpx
import psycopg
import pytest

from kernel.public import RECORDS, Actor, KernelError, WorkerOperation
from kernel.testing import Client, Postgres, Server, running_server
from plugins.data.rights.row_scope import LinkLimits
from tests.plugins.data import shop as app
from tests.plugins.data import support as lab
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, CONTACTS, add, empty, install, query

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT = re.compile(r"[0-9-]+T[0-9:.]+Z")
BATCH = "/api/v1/apps/shop/batch"
NDJSON = {"content-type": "application/x-ndjson"}
MISSING = "no such companies record"
Door = Callable[[Client, str, str], httpx.Response]
"""Sends a link, given an e-mail that a contact of the caller has, and a new one."""

OTHERS = ("contacts.create", "contacts.read", "contacts.update", "companies.create")


def manifest(**members: Any) -> dict[str, Any]:
    """The app with members for the link from contacts to companies."""
    changed = deepcopy(app.MANIFEST)
    link = changed["dataContract"][1]["fields"][1]
    assert link["name"] == "company_id"
    link.update(members)
    return changed


@pytest.fixture(params=["own", "scope"])
def writer(request: pytest.FixtureRequest, shop: Server) -> Generator[Client]:
    """A user that may read some companies: those that it created, or those of a plugin's tree."""
    empty(shop)
    scope: Any = next(each for each in shop.kernel.instances if each.name == "scope")
    if request.param == "own":
        yield app.holding(shop, *OTHERS, "companies.read.own")
    else:
        user = app.holding(shop, *OTHERS, "companies.read")
        scope.narrowed, scope.trees = user.id, {"companies": {"note": "mine"}}
        yield user
        scope.narrowed, scope.trees = "", {}


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def shop(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    plugins = ["ShopWitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides("ScopePlugin", *plugins)) as running:
        install(running)
        yield running


def company(client: Client, note: str) -> str:
    return add(client, COMPANIES, name="c", note=note)["id"]


def create(client: Client, link: str, email: str) -> httpx.Response:
    return client.post(CONTACTS, json={"email": email, "company_id": link})


def bulk(client: Client, link: str, email: str) -> httpx.Response:
    rows = [{"email": f"{email}0"}, {"email": email, "company_id": link}]
    return client.post(f"{CONTACTS}/bulk", json=rows)


def upsert(client: Client, link: str, email: str, then: str = "update") -> httpx.Response:
    rows = [{"email": f"{email}0"}, {"email": email, "company_id": link}]
    return client.post(f"{CONTACTS}/bulk?on=email&then={then}", json=rows)


def ids_of(client: Client, email: str) -> list[str]:
    found = query(client, CONTACTS, where={"email": email})["data"]
    return [each["id"] for each in found] or [str(uuid.UUID(int=0))]


def patch(client: Client, link: str, email: str) -> httpx.Response:
    [record_id] = ids_of(client, email)
    return client.patch(f"{CONTACTS}/{record_id}", json={"company_id": link})


def update_where(client: Client, link: str, email: str) -> httpx.Response:
    body = {"where": {"email": email}, "set": {"company_id": link}, "max": 5}
    return client.post(f"{CONTACTS}/update-where", json=body)


def batch(client: Client, *operations: dict[str, Any]) -> httpx.Response:
    return client.post(BATCH, json={"operations": operations})


def batch_create(client: Client, link: str, email: str) -> httpx.Response:
    rows = [{"email": f"{email}0"}, {"email": email, "company_id": link}]
    return batch(client, *({"op": "create", "entity": "contacts", "data": row} for row in rows))


def batch_update(client: Client, link: str, email: str) -> httpx.Response:
    [record_id] = ids_of(client, email)
    other = add(client, CONTACTS, email=None)["id"]
    return batch(client, *(
        {"op": "update", "entity": "contacts", "id": each, "data": {"company_id": link}}
        for each in (record_id, other)
    ))  # fmt: skip


def batch_upsert(client: Client, link: str, email: str) -> httpx.Response:
    data = {"email": email, "company_id": link}
    creates = {"op": "create", "entity": "companies", "data": {"name": "x", "note": "mine"}}
    meets = {"op": "upsert", "entity": "contacts", "on": "email", "data": data}
    return batch(client, creates, meets)


def load(client: Client, link: str, email: str, **params: str) -> httpx.Response:
    rows = [{"email": f"{email}0"}, {"email": email, "company_id": link}]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    return client.post(f"{CONTACTS}/import", content=body, params=params, headers=NDJSON)


def load_on(client: Client, link: str, email: str) -> httpx.Response:
    return load(client, link, email, on="email")


def load_shown(client: Client, link: str, email: str) -> httpx.Response:
    return load(client, link, email, preview="5")


NEW = [create, bulk, upsert, batch_create, batch_upsert, load, load_on, load_shown]
CHANGES = [upsert, patch, update_where, batch_update, batch_upsert, load_on]


def reply(answer: httpx.Response) -> tuple[int, str]:
    """What a caller can see of a reply, but for ids and moments."""
    return answer.status_code, MOMENT.sub("T", UUID.sub("ID", answer.text))


@pytest.mark.parametrize("door", [*NEW, *CHANGES], ids=lambda door: door.__name__)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_a_record_out_of_reach_is_an_unknown_id(
    shop: Server, writer: Client, door: Any, exists: bool
):
    foreign, unknown = company(shop.admin, "theirs"), str(uuid.uuid4())
    # Also where the e-mail is taken: which of two faults is named depends on neither id.
    if exists:
        add(writer, CONTACTS, email="e")
    elif door in (patch, update_where, batch_update):
        pytest.skip("it needs a record")
    before = stored(shop)
    replies = [reply(door(writer, each, "e")) for each in (foreign, unknown)]
    assert replies[0] == replies[1]
    taken = exists and door in (create, bulk, batch_create, load, load_shown)
    assert ("already taken" if taken else MISSING) in replies[0][1], replies[0]
    assert [row for row in stored(shop) if row[1] is not None] == []
    assert [row for row in stored(shop) if row[0] is not None] == [
        row for row in before if row[0] is not None
    ]


def stored(server: Server) -> list[tuple[Any, ...]]:
    return server.sql("select email, company_id from shop.contacts order by email")


@pytest.mark.parametrize("door", [*NEW, *CHANGES], ids=lambda door: door.__name__)
def test_a_record_within_reach_is_linked(shop: Server, writer: Client, door: Any):
    mine = company(writer, "mine")
    if door in CHANGES:
        add(writer, CONTACTS, email="e")
    answer = door(writer, mine, "e")
    assert answer.is_success, answer.text
    assert "errors" not in answer.json() or answer.json()["errors"] == []
    rows = shop.sql("select company_id::text from shop.contacts where email = 'e'")
    assert rows == [(mine,)]


def test_records_of_the_same_batch_are_linked(shop: Server, writer: Client):
    answer = batch(
        writer,
        {"op": "create", "entity": "companies", "data": {"name": "a", "note": "mine"}, "as": "a"},
        {"op": "create", "entity": "contacts", "data": {"company_id": {"$ref": "a.id"}}},
        {"op": "upsert", "entity": "contacts", "on": "email",
         "data": {"email": "e", "company_id": {"$ref": "a.id"}}},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    made = [each["record"] for each in answer.json()["results"]]
    assert made[1]["company_id"] == made[2]["company_id"] == made[0]["id"]


def test_a_link_that_stays_as_it_is_may_be_sent(shop: Server, writer: Client):
    """An admin has linked the contact; a form sends all of its fields."""
    foreign = company(shop.admin, "theirs")
    contact = add(shop.admin, CONTACTS, email="e", company_id=foreign)
    other = add(shop.admin, CONTACTS, email="o")
    body = {"email": "e", "company_id": foreign}
    path = f"{CONTACTS}/{contact['id']}"
    assert writer.patch(path, json=body).status_code == 200
    assert upsert(writer, foreign, "e").status_code == 200
    assert update_where(writer, foreign, "e").json() == {"updated": 1}
    refused = writer.patch(f"{CONTACTS}/{other['id']}", json={"company_id": foreign})
    assert refused.status_code == 400, refused.text
    # Who may not read the contact would learn by this what it links to.
    for read in ("contacts.read.own", "contacts.create"):
        blind = app.holding(shop, "contacts.update", read, "companies.read.own")
        replies = [
            reply(blind.patch(path, json={"company_id": link})) for link in (foreign, MISSING_ID)
        ]
        assert replies[0] == replies[1]
        assert replies[0][0] == 400


MISSING_ID = str(uuid.UUID(int=1))


def test_null_is_no_link(shop: Server, writer: Client):
    contact = add(writer, CONTACTS, email="e", company_id=company(writer, "mine"))
    path = f"{CONTACTS}/{contact['id']}"
    assert writer.patch(path, json={"company_id": None}).json()["company_id"] is None
    assert add(writer, CONTACTS, company_id=None)["company_id"] is None


def test_an_ignored_row_sets_no_link(shop: Server, writer: Client):
    add(writer, CONTACTS, email="e")
    answer = upsert(writer, company(shop.admin, "theirs"), "e", "ignore")
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][1]["result"] == "ignored"


def test_a_writer_without_a_right_to_read_the_target_may_link(shop: Server):
    empty(shop)
    blind = app.holding(shop, "contacts.create", "contacts.read")
    foreign = company(shop.admin, "theirs")
    assert add(blind, CONTACTS, company_id=foreign)["company_id"] == foreign
    assert create(blind, MISSING_ID, "e").status_code == 400


def test_an_unchecked_link_leads_anywhere(shop: Server, writer: Client):
    foreign = company(shop.admin, "theirs")
    assert create(writer, foreign, "e").status_code == 400
    install(shop, manifest(unchecked=True))
    try:
        assert create(writer, foreign, "e").status_code == 201
        assert create(writer, MISSING_ID, "f").status_code == 400
    finally:
        install(shop)
    assert create(writer, foreign, "g").status_code == 400


def test_a_default_link_is_the_manifests_choice(shop: Server, writer: Client):
    foreign = company(shop.admin, "theirs")
    install(shop, manifest(default_value=foreign))
    try:
        assert add(writer, CONTACTS, email="a")["company_id"] == foreign
        rows = [{"email": "b"}, {"email": "c", "company_id": None}]
        answer = writer.post(f"{CONTACTS}/bulk", json=rows)
        assert answer.status_code == 201, answer.text
        assert answer.json()[0]["company_id"] == foreign
    finally:
        install(shop)


def test_a_refused_link_waits_for_nothing(shop: Server, writer: Client):
    """A link to an unknown id takes no lock, so one to a record out of reach takes none either."""
    foreign = company(shop.admin, "theirs")
    with psycopg.connect(shop.dsn) as holder:
        holder.execute("select from shop.companies where id::text = %s for update", (foreign,))
        for door in (create, bulk, upsert, batch_create, load):
            answer = door(writer, foreign, f"{door.__name__}@")
            assert MISSING in answer.text, (door, answer.text)
        holder.rollback()


def test_workers_with_a_caller_link_as_it_may(shop: Server, writer: Client):
    foreign, mine = company(shop.admin, "theirs"), company(writer, "mine")
    records: Any = shop.services.get(RECORDS)
    actor = Actor(user_id=writer.id, username=writer.username)

    def said(op: str, data: dict[str, Any]) -> str:
        operation = WorkerOperation(entity="contacts", op=op, data=data)
        try:
            return shop.run(records.operate, actor, "shop", operation).decode()
        except KernelError as error:
            return error.message

    for link, expected in ((foreign, MISSING), (mine, mine)):
        assert expected in said("insert", {"company_id": link})
        assert expected in said("insertMany", {"rows": [{"company_id": link}]})
        assert expected in said("upsert", {"on": "email", "rows": [{"company_id": link}]})
        contact = add(writer, CONTACTS, email=None)["id"]
        assert expected in said("update", {"id": contact, "company_id": link})
    server = Actor(user_id=None, username="worker")
    insert = WorkerOperation(entity="contacts", op="insert", data={"company_id": mine})
    made = shop.run(records.operate, server, "shop", insert)
    assert mine in made.decode()


def test_who_reads_every_record_pays_nothing(
    shop: Server, writer: Client, monkeypatch: pytest.MonkeyPatch
):
    """The statements of other writers are the same as without the rule."""
    scope: Any = next(each for each in shop.kernel.instances if each.name == "scope")
    if scope.trees:
        return
    mine = company(shop.admin, "mine")

    def fail(*_: Any) -> Any:
        raise AssertionError("no limits are needed")

    monkeypatch.setattr(LinkLimits, "writer", fail)
    for door in (create, bulk, upsert, batch_create, load):
        assert door(shop.admin, mine, door.__name__).is_success


def test_a_link_that_a_plugin_sets_is_the_plugins(postgres: Postgres):
    """Its hook may know what the writer may not read: where new samples go, for one."""
    with running_server(postgres, overrides("WitnessPlugin")) as server:
        lab.installed(server)
        hook: Any = next(each for each in server.kernel.instances if each.name == "witness")
        add(server.admin, lab.TEAMS, id="t", name="theirs")
        writer = server.user(
            permissions={"lab": ["samples.create", "samples.update", "teams.read.own"]}
        )
        mine = add(writer, lab.SAMPLES, name="a")["id"]
        writes: list[Callable[[dict[str, str]], httpx.Response]] = [
            lambda link: writer.post(lab.SAMPLES, json={"name": "a", **link}),
            lambda link: writer.post(f"{lab.SAMPLES}/bulk", json=[{"name": "a", **link}]),
            lambda link: writer.patch(f"{lab.SAMPLES}/{mine}", json={"name": "b", **link}),
        ]
        for write in writes:
            hook.values = {}
            assert "no such teams record" in write({"team": "t"}).text
            hook.values = {"team": "t"}
            assert write({}).is_success
        assert server.sql("select count(*) from lab.samples where team = 't'") == [(3,)]


TREE = {
    "appId": "tree",
    "name": "Tree",
    "dataContract": [
        {
            "entityName": "nodes",
            "fields": [
                {"name": "id", "type": "text"},
                {"name": "parent", "type": "entity_link", "references": {"entity": "nodes"}},
            ],
        }
    ],
}
NODES = "/api/v1/apps/tree/collections/nodes"


def test_records_of_one_request_link_to_each_other(shop: Server):
    """Within one statement no record of it is visible yet."""
    shop.install(TREE)
    shop.sql("truncate tree.nodes")
    add(shop.admin, NODES, id="theirs")
    writer = shop.user(permissions={"tree": ["nodes.create", "nodes.read.own", "nodes.update.own"]})
    assert add(writer, NODES, id="self", parent="self")["parent"] == "self"
    rows = [{"id": "a", "parent": "b"}, {"id": "b", "parent": "c"}, {"id": "c", "parent": "a"}]
    answer = writer.post(f"{NODES}/bulk", json=rows)
    assert answer.status_code == 201, answer.text
    assert writer.patch(f"{NODES}/a", json={"parent": "self"}).status_code == 200
    for parent in ("theirs", "unknown"):
        rows = [{"id": "x"}, {"id": "y", "parent": "x"}, {"id": "z", "parent": parent}]
        answer = writer.post(f"{NODES}/bulk", json=rows)
        assert answer.json() == {"error": "[2] nodes.parent: no such nodes record"}
        answer = writer.patch(f"{NODES}/a", json={"parent": parent})
        assert answer.json() == {"error": "nodes.parent: no such nodes record"}
        # A record cannot be made one's own by a second one of its id.
        answer = writer.post(f"{NODES}/bulk", json=[{"id": "theirs", "parent": "theirs"}])
        assert answer.json() == {"error": "[0] nodes.id: this value is already taken"}


def test_a_wrong_unchecked_is_named(shop: Server):
    said = {
        "unchecked": ({"unchecked": "yes"}, "must be true or false"),
        "type": ({"unchecked": True, "type": "text", "references": None}, "entity_link only"),
    }
    for members, words in said.values():
        answer = shop.admin.post("/api/v1/apps", json=manifest(**members))
        assert answer.status_code == 400, answer.text
        assert "dataContract[1].fields[1].unchecked" in answer.json()["error"]
        assert words in answer.json()["error"]
    assert shop.admin.post("/api/v1/apps/schema/verify", json=manifest(unchecked=True)).json() == {
        "compliant": True, "changes": [],
    }  # fmt: skip
