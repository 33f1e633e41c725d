"""A page carries a bounded number of linked records, at all depths together."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, install, query
from tests.plugins.data.support import refused

CONTACTS_OF = "contacts_via_company_id"
DEALS_OF = "deals_via_contact_id"
DEEP = f"{CONTACTS_OF}.{DEALS_OF}"
REFUSAL = "linked records together: ask for fewer by limit"


@pytest.fixture
def few(server: Server) -> Client:
    """Three companies with two contacts each, of which each has three deals."""
    admin = install(server)
    empty(server)
    for name in ("a", "b", "c"):
        company = add(admin, COMPANIES, name=name)
        for place in range(2):
            contact = add(admin, CONTACTS, email=f"{name}{place}", company_id=company["id"])
            for value in range(3):
                add(admin, DEALS, title=name, value=value, contact_id=contact["id"])
    return admin


def bound(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let a page carry so many."""
    monkeypatch.setattr("plugins.data.reads.linked_bound.MAX_CARRIED", most)


def count_linked(records: list[dict[str, Any]]) -> int:
    """Count the linked records in records."""
    total = 0
    for record in records:
        for linked in record.get("expand", {}).values():
            inner = linked if isinstance(linked, list) else [linked] if linked else []
            total += len(inner) + count_linked(inner)
    return total


@pytest.mark.parametrize(
    ("path", "body", "number"),
    [
        (COMPANIES, {"expand": [CONTACTS_OF]}, 6),
        (COMPANIES, {"expand": [DEEP]}, 6 + 18),
        (COMPANIES, {"expand": [f"{DEEP}.contact_id"]}, 6 + 18 + 18),
        (COMPANIES, {"expand": [{CONTACTS_OF: {"limit": 1}}, DEEP], "limit": 2}, 2 + 6),
        (
            COMPANIES,
            {"expand": [CONTACTS_OF, {DEEP: {"where": {"value": 2}}}], "limit": 1, "offset": 1},
            2 + 2,
        ),
        (COMPANIES, {"expand": [CONTACTS_OF], "where": {"name": "b"}}, 2),
        (COMPANIES, {"expand": [{DEEP: {"limit": 1}}], "orderBy": "name"}, 6 + 6),
        (DEALS, {"expand": ["contact_id.company_id"]}, 18 + 18),
        (DEALS, {"expand": ["contact_id", "owner_id"]}, 18),
    ],
)
def test_a_page_carries_so_many_linked_records_and_not_one_more(
    few: Client, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], number: int
) -> None:
    page = query(few, path, **body)
    assert count_linked(page["data"]) == number
    bound(monkeypatch, number)
    assert query(few, path, **body) == page
    bound(monkeypatch, number - 1)
    answer = few.post(f"{path}/query", json=body)
    assert refused(answer) == f"expand: these records have more than {number - 1} {REFUSAL}"
    assert query(few, path, **{**body, "expand": []})["data"]


def test_the_bound_holds_for_lists_records_and_pages_that_continue(
    few: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, middle, _ = few.get(COMPANIES).json()
    requests = (
        (COMPANIES, {"expand": CONTACTS_OF, "limit": "2"}, 4),
        (COMPANIES, {"expand": CONTACTS_OF, "limit": "2", "after": middle["id"]}, 2),
        (COMPANIES, {"expand": CONTACTS_OF, "limit": "9", "after": newest["id"]}, 4),
        (COMPANIES, {"expand": CONTACTS_OF, "limit": "9", "sort": "note", "offset": "1"}, 4),
        (f"{COMPANIES}/{middle['id']}", {"expand": DEEP}, 2 + 6),
    )
    for path, parameters, number in requests:
        bound(monkeypatch, number)
        assert few.get(path, params=parameters).status_code == 200, parameters
        bound(monkeypatch, number - 1)
        assert REFUSAL in refused(few.get(path, params=parameters))
    # A complete list is read record by record, in bounded memory.
    bound(monkeypatch, 1)
    assert count_linked(few.get(COMPANIES, params={"expand": CONTACTS_OF}).json()) == 6


def test_what_a_caller_may_not_read_does_not_count(
    server: Server, few: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, 2)
    none = holding(server, "companies.read")
    own = holding(server, "companies.read", "contacts.read.own", "contacts.create")
    for reader in (none, own):
        assert len(query(reader, COMPANIES, expand=[DEEP])["data"]) == 3
    [company, *_] = few.get(COMPANIES).json()
    for number in range(3):
        assert query(own, COMPANIES, expand=[CONTACTS_OF])["data"]
        add(own, CONTACTS, email=f"own{number}", company_id=company["id"])
    assert REFUSAL in refused(own.post(f"{COMPANIES}/query", json={"expand": [CONTACTS_OF]}))
    assert REFUSAL in refused(few.post(f"{COMPANIES}/query", json={"expand": [CONTACTS_OF]}))


def test_a_wrong_expand_is_named_as_before(few: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, 0)
    for expand, words in (
        (["companyid"], "did you mean 'company_id'"),
        ([{"company_id": {"limit": 1}}], "unknown option 'limit'"),
        ([{DEALS_OF: {"limit": 0}}], "limit must be"),
        ([{DEALS_OF: {"orderBy": "x"}}], "deals has no field 'x'"),
    ):
        assert words in refused(few.post(f"{CONTACTS}/query", json={"expand": expand}))


@pytest.mark.slow
def test_a_thousand_records_with_a_hundred_each_are_refused_at_little_cost(
    server: Server, few: Client
) -> None:
    server.sql(
        "insert into shop.companies (name) select 'n' || n from generate_series(1, 1000) n;"
        " insert into shop.contacts (email, company_id)"
        " select c.name || '-' || n, c.id from shop.companies c, generate_series(1, 30) n;"
        " insert into shop.deals (title, contact_id)"
        " select 'd', c.id from shop.contacts c, generate_series(1, 5);"
        " analyze shop.companies, shop.contacts, shop.deals"
    )
    body = {"expand": [f"{DEEP}.contact_id"], "limit": 1000}
    assert REFUSAL in refused(few.post(f"{COMPANIES}/query", json=body))
    assert REFUSAL in refused(few.get(COMPANIES, params={"expand": CONTACTS_OF, "limit": 1000}))
    page = query(few, COMPANIES, **{**body, "limit": 40})
    assert count_linked(page["data"]) == 40 * (30 + 150 + 150)
