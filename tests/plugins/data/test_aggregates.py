"""Groups and aggregates of a query."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, holding, install, query
from tests.plugins.data.support import refused


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    install(server)
    return server


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def deals(client: Client, *rows: dict[str, Any]) -> None:
    assert client.post(f"{DEALS}/bulk", json=list(rows)).status_code == 201


def test_two_hundred_groups_and_aggregates_are_one_query(admin: Client):
    deals(admin, {"stage": "Lead", "value": 1}, {"stage": "Won", "value": 2})
    sums = {f"sum{number}": {"$sum": "value"} for number in range(199)}
    answer = query(admin, DEALS, groupBy=["stage"], aggregate=sums, having={"sum198": {"$gt": 1}})
    [row] = answer["data"]
    assert row == {"stage": "Won"} | dict.fromkeys(sums, 2)
    body = {"groupBy": ["stage"], "aggregate": {**sums, "n": {"$count": "*"}}}
    error = "aggregate holds more than 200 groups and aggregates"
    assert error in refused(admin.post(f"{DEALS}/query", json=body))


def test_a_report_by_stage_and_month(admin: Client):
    deals(
        admin,
        {"stage": "Lead", "closed_on": "2026-01-05", "value": 4000},
        {"stage": "Lead", "closed_on": "2026-01-31", "value": 5000},
        {"stage": "Lead", "closed_on": "2026-02-01", "value": 0.5},
        {"stage": "Won", "closed_on": "2026-02-01", "value": None},
    )
    body: dict[str, Any] = {
        "groupBy": ["stage", {"$month": "closed_on"}],
        "aggregate": {"n": {"$count": "*"}, "sum": {"$sum": "value"}, "avg": {"$avg": "value"}},
        "orderBy": "sum",
        "order": "desc",
    }
    nothing = {"stage": "Won", "closed_on": "2026-02", "n": 1, "sum": None, "avg": None}
    rows = [
        nothing,
        {"stage": "Lead", "closed_on": "2026-01", "n": 2, "sum": 9000, "avg": 4500},
        {"stage": "Lead", "closed_on": "2026-02", "n": 1, "sum": 0.5, "avg": 0.5},
    ]
    assert query(admin, DEALS, **body) == {"data": rows, "total": 3}
    assert query(admin, DEALS, **body, limit=1, offset=1) == {"data": [rows[1]], "total": 3}
    assert query(admin, DEALS, **body, having={"sum": {"$gte": 0.5}}) == {
        "data": rows[1:],
        "total": 2,
    }
    assert query(admin, DEALS, **body, where={"stage": "Won"}, total=False) == {"data": [nothing]}
    assert query(admin, DEALS, groupBy=["stage"])["data"] == [{"stage": "Lead"}, {"stage": "Won"}]
    assert query(admin, DEALS, groupBy=["stage"], order="desc", having={"stage": "Won"}) == {
        "data": [{"stage": "Won"}],
        "total": 1,
    }


def test_without_groups_there_is_one_row(admin: Client):
    functions = ("$count", "$countDistinct", "$sum", "$avg", "$min", "$max")
    body = {"aggregate": {name: {name: "value"} for name in functions}}
    none = dict.fromkeys(functions)
    assert query(admin, DEALS, **body) == {
        "data": [{**none, "$count": 0, "$countDistinct": 0}],
        "total": 1,
    }
    deals(admin, {"value": 1}, {"value": 1}, {"value": 2}, {"value": None})
    found = query(admin, DEALS, **body)["data"][0]
    assert found.pop("$avg") == pytest.approx(4 / 3)
    assert found == {"$count": 3, "$countDistinct": 2, "$sum": 4, "$min": 1, "$max": 2}
    extremes = {"first": {"$min": "won_at"}, "last": {"$max": "closed_on"}}
    deals(admin, {"won_at": "2026-03-04T05:06:07.5Z", "closed_on": "2026-12-31"})
    assert query(admin, DEALS, aggregate=extremes)["data"] == [
        {"first": "2026-03-04T05:06:07.5Z", "last": "2026-12-31"}
    ]


def test_sums_are_exact_and_written_in_full(admin: Client):
    deals(admin, {"value": 9007199254740991}, {"value": 9007199254740991}, {"value": 0.1})
    answer = admin.post(f"{DEALS}/query", json={"aggregate": {"sum": {"$sum": "value"}}})
    assert '"sum":18014398509481982.1}' in answer.text
    deals(admin, {"value": 1e300})
    answer = admin.post(f"{DEALS}/query", json={"aggregate": {"sum": {"$sum": "value"}}})
    assert len(answer.text) > 300


def test_units_of_time(admin: Client):
    deals(admin, {"won_at": "2024-12-30T23:30:00Z", "closed_on": "2024-12-30"})
    wanted = {
        "$year": "2024", "$quarter": "2024-Q4", "$month": "2024-12", "$week": "2025-W01",
        "$day": "2024-12-30", "$hour": "2024-12-30T23:00:00Z",
    }  # fmt: skip
    for unit, text in wanted.items():
        found = query(admin, DEALS, groupBy=[{unit: "won_at"}])["data"]
        assert found == [{"won_at": text}]
    for unit, text in list(wanted.items())[:5]:
        zone = {"timezone": "Asia/Kolkata"}
        assert query(admin, DEALS, groupBy=[{unit: "closed_on"}], **zone)["data"] == [
            {"closed_on": text}
        ]
    moved = {"$day": "2024-12-31", "$year": "2024", "$hour": "2024-12-30T23:30:00Z"}
    for unit, text in moved.items():
        found = query(admin, DEALS, groupBy=[{unit: "won_at"}], timezone="Asia/Kolkata")["data"]
        assert found == [{"won_at": text}], unit
    found = query(admin, DEALS, groupBy=[{"$year": "won_at"}], timezone="Asia/Tokyo")
    assert found["data"] == [{"won_at": "2024"}]
    refused(admin.post(f"{DEALS}/query", json={"groupBy": ["stage"], "timezone": 5}))
    body = {"groupBy": [{"$day": "won_at"}], "timezone": "Nowhere/Land"}
    refused(admin.post(f"{DEALS}/query", json=body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"groupBy": ["stag"]}, "did you mean 'stage'"),
        ({"groupBy": [{"$moon": "closed_on"}]}, "unknown unit '$moon'"),
        ({"groupBy": [{"$month": "stage"}]}, "$month does not work on text"),
        ({"groupBy": [{"$hour": "closed_on"}]}, "$hour does not work on date"),
        ({"groupBy": [{"$year": "won_at"}, {"$month": "won_at"}]}, "'won_at' is named twice"),
        ({"groupBy": ["stage", "stage"]}, "'stage' is named twice"),
        ({"groupBy": ["stage"], "aggregate": {"stage": {"$count": "*"}}}, "a group has this name"),
        ({"aggregate": {"n": {"$median": "value"}}}, "unknown function '$median'"),
        ({"aggregate": {"n": {"$sum": "stage"}}}, "$sum does not work on text"),
        ({"aggregate": {"n": {"$sum": "*"}}}, "deals has no field '*'"),
        ({"aggregate": {"n": {"$sum": "value", "$avg": "value"}}}, "aggregate.n"),
        ({"aggregate": {"": {"$count": "*"}}}, "1 to 63 characters"),
        ({"aggregate": {}}, "name at least one"),
        ({"aggregate": {"n": {"$count": "*"}}, "having": {"m": 1}}, "have no 'm'"),
        ({"aggregate": {"n": {"$count": "*"}}, "having": {"value": 1}}, "have no 'value'"),
        ({"aggregate": {"n": {"$count": "*"}}, "having": {"n": {"$has": {}}}}, "have no link"),
        ({"aggregate": {"n": {"$count": "*"}}, "orderBy": "value"}, "have no 'value'"),
        ({"aggregate": {"n": {"$count": "*"}}, "fields": ["title"]}, "fields does not go with"),
        ({"having": {"n": 1}}, "having goes with"),
        ({"groupBy": ["stage"], "limit": 0}, "limit"),
        ({"aggregate": {f"n{n}": {"$count": "*"} for n in range(201)}}, "more than 200"),
    ],
)
def test_what_is_wrong_is_named(admin: Client, body: dict[str, Any], said: str):
    assert said in refused(admin.post(f"{DEALS}/query", json=body))


def test_names_are_not_sql(admin: Client):
    deals(admin, {"value": 1})
    for name in ('a"b', "%s %b %(x)s", "\\", "'", "k0", "data", "json"):
        assert query(admin, DEALS, aggregate={name: {"$sum": "value"}}, orderBy=name)["data"] == [
            {name: 1}
        ]


def test_every_type_is_grouped(admin: Client):
    company = add(admin, COMPANIES, name="a", founded_at="2026-01-01T00:00Z")
    contact = add(admin, CONTACTS, company_id=company["id"])
    add(admin, DEALS, contact_id=contact["id"], details={"a": 1}, won_at="2026-01-01T00:00Z")
    names = ["contact_id", "details", "won_at", "closed_on", "value", "id", "created_at"]
    [deal] = admin.get(DEALS).json()
    assert query(admin, DEALS, groupBy=names)["data"] == [{name: deal[name] for name in names}]


def test_relations_filter_groups_and_never_multiply_them(admin: Client):
    """Joins that multiply sums are the pitfall."""
    company = add(admin, COMPANIES, name="a")
    contact = add(admin, CONTACTS, company_id=company["id"])
    deals(admin, *({"contact_id": contact["id"], "value": 5} for _ in range(3)))
    where = {"contact_id": {"$has": {"deals_via_contact_id": {"$some": {"value": 5}}}}}
    found = query(admin, DEALS, where=where, aggregate={"sum": {"$sum": "value"}})
    assert found == {"data": [{"sum": 15}], "total": 1}


def test_users_with_different_rights_see_different_totals(shop: Server, admin: Client):
    owner = holding(shop, "deals.read.own", "deals.create")
    deals(admin, {"value": 10})
    deals(owner, {"value": 1}, {"value": 2})
    body = {"aggregate": {"sum": {"$sum": "value"}, "n": {"$count": "*"}}}
    assert query(admin, DEALS, **body)["data"] == [{"sum": 13, "n": 3}]
    assert query(owner, DEALS, **body)["data"] == [{"sum": 3, "n": 2}]
    blind = holding(shop, "deals.create")
    refused(blind.post(f"{DEALS}/query", json=body), 403)


def test_a_page_has_a_thousand_groups_at_most(admin: Client):
    deals(admin, *({"title": str(number)} for number in range(1000)))
    deals(admin, *({"title": str(number)} for number in range(1000, 1100)))
    found = query(admin, DEALS, groupBy=["title"], limit=5000)
    assert (len(found["data"]), found["total"]) == (1000, 1100)
