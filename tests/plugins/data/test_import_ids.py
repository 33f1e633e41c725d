"""Imports that meet records: by their ids, and links by the natural keys of their targets."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding
from tests.plugins.data.support import NOTES, SAMPLES, clear, create, refused
from tests.plugins.data.test_import_spellings import report, send

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def exported(client: Client, path: str, kind: str = "csv", **params: str) -> bytes:
    answer = client.get(path, params={"format": kind, **params})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_an_import_by_id_changes_records_and_doubles_nothing(admin: Client):
    first = add(admin, DEALS, title="a", value=1, note="")
    second = add(admin, DEALS, title="b", value=2)
    text = exported(admin, DEALS).decode()
    done = report(send(admin, text, path=DEALS, on="id"))
    assert (done["created"], done["updated"], done["unchanged"]) == (0, 2, 2)
    assert done["ignored"] == ["created_at", "updated_at"]
    assert admin.get(DEALS).json() == [second, first]  # the empty note and the times as well

    wrong = text.replace(",b,", ",B,").replace(",2,", ",two,")
    done = report(send(admin, wrong, path=DEALS, on="id", mode="all"))
    assert (done["rows"], done["valid"]) == (2, 1)
    assert (done["created"], done["updated"], done.get("unchanged")) == (0, 0, None)
    assert admin.get(DEALS).json() == [second, first]

    changed = text.replace(",b,", ",B,")
    done = report(send(admin, changed + ",new" + "," * (len(first) - 2) + "\r\n",
                       path=DEALS, on="id"))  # fmt: skip
    assert (done["created"], done["updated"], done["unchanged"]) == (1, 2, 1)
    records = {record["id"]: record for record in admin.get(DEALS).json()}
    assert len(records) == 3
    assert records[first["id"]] == first
    assert records[second["id"]]["title"] == "B"


def test_an_empty_cell_leaves_an_empty_text_beside_a_change(admin: Client):
    record = add(admin, DEALS, title="a", note="", stage="x")
    text = f"id,title,note,stage\n{record['id']},b,,\n"
    assert report(send(admin, text, path=DEALS, on="id"))["updated"] == 1
    after = admin.get(f"{DEALS}/{record['id']}").json()
    assert (after["title"], after["note"], after["stage"]) == ("b", "", None)


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson"])
def test_an_unknown_id_is_an_error_of_its_row(admin: Client, kind: str):
    known = add(admin, DEALS, title="a")
    text = f"id,title\n{MISSING},x\n{known['id']},y\nnonsense,z\n"
    if kind != "text/csv":
        ids = (MISSING, known["id"], "nonsense")
        text = "\n".join(f'{{"id": "{each}", "title": "x"}}' for each in ids)
    done = report(send(admin, text, kind, DEALS, on="id", mode="valid"))
    assert [(each["row"], each["field"], each["value"]) for each in done["errors"]] == [
        (1, "id", MISSING), (3, "id", "nonsense"),
    ]  # fmt: skip
    assert done["errors"][0]["error"] == "deals.id: no such deals record"
    assert (done["created"], done["updated"]) == (0, 1)


def test_records_are_created_under_their_ids_if_asked(admin: Client):
    text = f"id,title\n{MISSING},x\n,y\n"
    for params in ({"on": "id"}, {}):
        empty_table(admin)
        done = report(send(admin, text, path=DEALS, create="ids", **params))
        assert (done["created"], done["errors"]) == (2, [])
        assert admin.get(f"{DEALS}/{MISSING}").json()["title"] == "x"
    [problem] = report(send(admin, text, path=DEALS, create="ids"))["errors"]
    assert problem["error"] == "deals.id: this value is already taken"


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows}


def empty_table(client: Client) -> None:
    total = client.post(f"{DEALS}/query", json={"limit": 1}).json()["total"]
    client.post(f"{DEALS}/delete-where", json={"where": {}, "expect": total})


def test_a_record_out_of_scope_is_as_none(shop: Server, admin: Client):
    theirs = add(admin, DEALS, title="theirs")
    owner = holding(shop, "deals.read.own", "deals.create", "deals.update.own")
    mine = add(owner, DEALS, title="mine")
    text = f"id,title\n{theirs['id']},x\n{MISSING},x\n{mine['id']},y\n"
    done = report(send(owner, text, path=DEALS, on="id", mode="valid"))
    assert {each["error"] for each in done["errors"]} == {"deals.id: no such deals record"}
    assert [each["row"] for each in done["errors"]] == [1, 2]
    assert admin.get(f"{DEALS}/{theirs['id']}").json() == theirs
    assert owner.get(f"{DEALS}/{mine['id']}").json()["title"] == "y"
    reader = holding(shop, "deals.read", "deals.create")
    refused(send(reader, text, path=DEALS, on="id"), 403)


def test_two_linked_tables_are_imported_one_after_another(admin: Client):
    contacts = "email\nada@x.org\nbob@x.org\n"
    assert report(send(admin, contacts, path=CONTACTS))["created"] == 2
    deals = "title,Contact_id.Email\na,ada@x.org\nb,bob@x.org\nc,\nd,nobody@x.org\n"
    done = report(send(admin, deals, path=DEALS, mode="valid"))
    assert done["created"] == 3
    assert done["errors"] == [
        {"row": 4, "field": "contact_id.email", "value": "nobody@x.org",
         "error": "deals.contact_id: no such contacts record"}
    ]  # fmt: skip
    by_email = {each["email"]: each["id"] for each in admin.get(CONTACTS).json()}
    assert {each["title"]: each["contact_id"] for each in admin.get(DEALS).json()} == {
        "a": by_email["ada@x.org"], "b": by_email["bob@x.org"], "c": None,
    }  # fmt: skip
    lines = '{"title": "e", "contact_id.email": "ada@x.org"}\n{"title": "f"}\n'
    assert report(send(admin, lines, "application/x-ndjson", DEALS))["created"] == 2


def test_a_link_to_an_account_is_named_by_its_username(shop: Server, admin: Client):
    user = shop.user()
    name = next(each["username"] for each in admin.get("/api/v1/users").json()
                if each["id"] == user.id)  # fmt: skip
    assert report(send(admin, f"title,owner_id.username\na,{name}\n", path=DEALS))["created"] == 1
    assert admin.get(DEALS).json()[0]["owner_id"] == user.id


def test_rows_may_link_to_rows_before_them(admin: Client):
    text = "email,boss_id.email\na,\nb,a\nc,b\nd,later\nlater,\n"
    done = report(send(admin, text, path=CONTACTS, mode="valid"))
    assert [each["row"] for each in done["errors"]] == [4]
    by_email = {each["email"]: each for each in admin.get(CONTACTS).json()}
    assert by_email["b"]["boss_id"] == by_email["a"]["id"]
    assert by_email["c"]["boss_id"] == by_email["b"]["id"]


def test_a_key_must_be_unique_and_readable(shop: Server, admin: Client):
    add(admin, COMPANIES, name="Acme")
    said = refused(send(admin, "email,company_id.name\na,Acme\n", path=CONTACTS))
    assert said.startswith("contacts.company_id: no unique index of companies has just 'name'")
    assert "is not a link" in refused(send(admin, "title.x\na\n", path=DEALS))
    contact = add(admin, CONTACTS, email="a")
    blind = holding(shop, "deals.create", "deals.read")
    text = "title,contact_id.email\nx,a\n"
    assert "no unique index" in refused(send(blind, text, path=DEALS))
    owner = holding(shop, "deals.create", "deals.read", "contacts.read.own")
    [problem] = report(send(owner, text, path=DEALS))["errors"]
    assert problem["error"] == "deals.contact_id: no such contacts record"
    assert report(send(admin, text, path=DEALS))["created"] == 1
    assert admin.get(DEALS).json()[0]["contact_id"] == contact["id"]


def test_a_required_link_by_key_is_required(lab: Server):
    clear(lab)
    create(lab.admin, name="s", code="s1")
    text = "body,sample.code\na,s1\nb,\n"
    done = report(send(lab.admin, text, path=NOTES, mode="valid"))
    assert done["created"] == 1
    assert [(each["row"], each["field"]) for each in done["errors"]] == [(2, "sample.code")]


def test_a_hidden_tree_of_ids_is_checked_before_anything_is_written(admin: Client):
    text = f"id,title\n{MISSING},x\n"
    done = report(send(admin, text, path=DEALS, on="id", dryRun="true", create="ids"))
    assert (done["valid"], done["created"]) == (1, 1)
    assert admin.get(DEALS).json() == []


numbers = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats(-1e300, 1e300))
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
formulas = st.builds(
    "{}{}".format, st.sampled_from(["", "'", "''", "=", "+", "-", "@", "\t", "\r"]), texts
)
json_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
days = st.dates(min_value=date(1, 1, 1)).map(str)
moments = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
records = st.fixed_dictionaries(
    {
        "name": formulas.filter(bool),
        "amount": numbers,
        "ready": st.one_of(st.none(), st.booleans()),
        "taken_on": st.one_of(st.none(), days),
        "seen_at": st.one_of(st.none(), moments),
        "details": st.one_of(st.none(), json_values),
        "ticket": st.one_of(st.none(), st.uuids().map(str)),
        "tags": st.one_of(st.none(), st.lists(st.one_of(st.none(), formulas), max_size=3)),
        "sizes": st.one_of(st.none(), st.lists(numbers, max_size=3)),
        "scan": st.one_of(st.none(), formulas),
        "kind": st.sampled_from([None, "Blood", "Water's"]),
    }
)


@pytest.mark.slow
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(records, min_size=1, max_size=4), kind=st.sampled_from(["csv", "ndjson"]))
def test_an_export_that_is_imported_changes_nothing(
    lab: Server, rows: list[dict[str, Any]], kind: str
):
    """All types of fields, nulls beside empty texts, and texts like formulas."""
    clear(lab)
    admin = lab.admin
    answer = admin.post(f"{SAMPLES}/bulk", json=rows)
    if answer.status_code == 400:  # such as a number beyond what a double holds
        return
    before = admin.get(SAMPLES).json()
    file = exported(admin, SAMPLES, kind)
    media = "text/csv" if kind == "csv" else "application/x-ndjson"
    done = report(send(admin, file, media, on="id"))
    assert (done["updated"], done["unchanged"], done["errors"]) == (len(rows), len(rows), [])
    assert admin.get(SAMPLES).json() == before

    clear(lab)
    done = report(send(admin, file, media, on="id", create="ids"))
    assert (done["created"], done["errors"]) == (len(rows), [])
    times = ("created_at", "updated_at")
    empty_is_null = kind == "csv"  # an empty cell is null, and there is no record that says more
    wanted = [
        {
            name: None if empty_is_null and value == "" and name == "scan" else value
            for name, value in record.items()
            if name not in times
        }
        for record in before
    ]
    after = [
        {name: value for name, value in record.items() if name not in times}
        for record in admin.get(SAMPLES).json()
    ]
    assert by_id(after) == by_id(wanted)
