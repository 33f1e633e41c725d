"""Calls of RECORDS that are a part of a plugin's transaction, beyond those of the kit."""

from __future__ import annotations

import io
import json

import pytest

from kernel.public import (
    RECORDS,
    STATEMENTS,
    Actor,
    BadRequest,
    Grant,
    ImportOptions,
    KernelError,
    Operation,
    Page,
    Records,
    Target,
    Transaction,
    View,
)
from kernel.testing import Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, add, empty, query


class Undone(Exception):
    """Rolls the transaction of a test back."""


@pytest.fixture
def contacts(shop: Server) -> Target:
    """The empty contacts, for their admin."""
    empty(shop)
    return Target(Actor(user_id=shop.admin.id), Grant(), "shop", "contacts")


async def write_in_all_ways(records: Records, target: Target, tx: Transaction) -> None:
    """Leave e1, changed, and e3 to e5."""
    rows = [{"email": "e1"}, {"email": "e2"}]
    await records.upsert(target, rows, "email", tx=tx)
    create = Operation(op="create", entity="contacts", data={"email": "e3"})
    await records.batch(target.actor, "shop", [create], tx=tx)
    file = io.BytesIO(b"email\ne4\ne5\n")
    options = ImportOptions(file_format="csv", on="email")
    await records.import_file(target, file, options, tx=tx)
    changed = await records.update_where(target, {"email": "e1"}, {"email": "e0"}, expect=1, tx=tx)
    deleted = await records.delete_where(target, {"email": "e2"}, at_most=1, tx=tx)
    assert (changed, deleted) == (1, 1)


def emails(page: bytes) -> list[str]:
    return [record["email"] for record in json.loads(page)]


def test_writes_of_many_are_committed_or_undone_with_their_transaction(
    shop: Server, contacts: Target
):
    records = shop.services.get(RECORDS)
    run = shop.services.get(STATEMENTS).run
    by_email = Page(order_by="email", order="asc")

    async def work(tx: Transaction) -> None:
        await write_in_all_ways(records, contacts, tx)
        assert emails(await records.page(contacts, by_email, tx=tx)) == ["e0", "e3", "e4", "e5"]
        assert emails(await records.page(contacts, by_email)) == []

    async def work_and_fail(tx: Transaction) -> None:
        await work(tx)
        raise Undone

    with pytest.raises(Undone):
        shop.run(run, contacts.actor, work_and_fail)
    assert query(shop.admin, CONTACTS)["total"] == 0
    shop.run(run, contacts.actor, work)
    assert query(shop.admin, CONTACTS)["total"] == 4


def test_a_refused_write_of_many_leaves_its_transaction_as_it_was(shop: Server, contacts: Target):
    records = shop.services.get(RECORDS)
    add(shop.admin, CONTACTS, email="taken")
    wrong = [{"email": "new"}, {"email": "taken"}]
    creates = [Operation(op="create", entity="contacts", data=row) for row in wrong]

    async def work(tx: Transaction) -> None:
        with pytest.raises(BadRequest, match=r"\[1\] contacts\.email"):
            await records.create_many(contacts, wrong, tx=tx)
        with pytest.raises(BadRequest, match=r"\[1\] contacts\.email"):
            await records.upsert(contacts, wrong, "email", "fail", tx=tx)
        with pytest.raises(BadRequest, match=r"\[1\] contacts\.email"):
            await records.batch(contacts.actor, "shop", creates, tx=tx)
        with pytest.raises(BadRequest, match="nothing was changed"):
            await records.delete_where(contacts, {"email": "taken"}, expect=2, tx=tx)
        await records.create(contacts, {"email": "left"}, tx=tx)

    shop.run(shop.services.get(STATEMENTS).run, contacts.actor, work)
    remaining = query(shop.admin, CONTACTS, orderBy="email", order="asc")["data"]
    assert [record["email"] for record in remaining] == ["left", "taken"]


def test_entity_tags_and_linked_records_are_those_of_the_transaction(
    shop: Server, contacts: Target
):
    records = shop.services.get(RECORDS)
    company = add(shop.admin, COMPANIES, name="Acme")["id"]

    async def work(tx: Transaction) -> None:
        created = await records.create(contacts, {"company_id": company}, tx=tx)
        record_id = json.loads(created.record)["id"]
        shown = await records.get(contacts, record_id, View(expand=["company_id"]), tx=tx)
        assert json.loads(shown.record)["expand"]["company_id"]["name"] == "Acme"
        with pytest.raises(KernelError) as refused:
            await records.update(contacts, record_id, {"email": "x"}, if_match='"1-2"', tx=tx)
        assert refused.value.status == 412
        assert json.loads(bytes(refused.value.members["current"]))["id"] == record_id
        await records.update(contacts, record_id, {"email": "y"}, if_match=created.etag, tx=tx)

    shop.run(shop.services.get(STATEMENTS).run, contacts.actor, work)
    assert [record["email"] for record in query(shop.admin, CONTACTS)["data"]] == ["y"]
