"""Bad input is 400, and the error names the member and the nearest known word."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, install
from tests.plugins.data.support import refused

BATCH = "/api/v1/apps/shop/batch"
QUERY = f"{DEALS}/query"


@pytest.fixture(scope="module")
def admin(server: Server) -> Client:
    install(server)
    return server.admin


def operations(**more: Any) -> dict[str, Any]:
    return {"operations": [{"op": "create", "entity": "contacts", "data": {}, **more}]}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (QUERY, {"expnd": ["contact_id"]}, "unknown field `expnd`; did you mean 'expand'?"),
        (QUERY, {"order": "dsc"}, "order: invalid enum value 'dsc'; did you mean 'desc'?"),
        (QUERY, {"fields": ["titel"]}, "deals has no field 'titel'; did you mean 'title'?"),
        (QUERY, {"expand": ["contct_id"]}, "no link 'contct_id'; did you mean 'contact_id'?"),
        (QUERY, {"expand": [{"contact_id": {"field": []}}]}, "'field'; did you mean 'fields'?"),
        (QUERY, {"where": {"titel": "x"}}, "no field 'titel'; did you mean 'title'?"),
        (QUERY, {"where": {"title": {"$likes": "x"}}},
         "deals.title: unknown operator '$likes'; did you mean '$like'?"),
        (QUERY, {"where": {"contact_id": {"$hass": {}}}},
         "deals.contact_id: unknown operator '$hass'; did you mean '$has'?"),
        (f"{CONTACTS}/query", {"where": {"deals_via_contact_id": {"$some": {}, "$sum": {}}}},
         "contacts.deals_via_contact_id: unknown operator '$sum'; did you mean '$some'?"),
        (QUERY, {"where": {"$adn": []}}, "where: unknown operator '$adn'; did you mean '$and'?"),
        (QUERY, {"fields": ["title"] * 505}, "fields holds more than 504 names"),
        (QUERY, {"expand": ["contact_id"] * 61}, "expand holds more than 60 paths"),
        (QUERY, {"expand": ["c" * 401]}, f"expand: there is no link '{'c' * 80}'"),
        (QUERY, {"expand": [{f"l{number}": {} for number in range(21)}]},
         "expand holds more than 20 links"),
        (QUERY, {"groupBy": ["nothing"] * 201},
         "aggregate holds more than 200 groups and aggregates"),
        (QUERY, {"orderBy": "valeu"}, "no field 'valeu'; did you mean 'value'?"),
        (QUERY, {"orderBy": "stage", "thenBy": [{"valeu": "asc"}]},
         "no field 'valeu'; did you mean 'value'?"),
        (QUERY, {"orderBy": "stage", "thenBy": [{"value": "asc"}, {}]},
         'thenBy[1]: an object like {"field": "asc"} is wanted'),
        (QUERY, {"orderBy": "stage", "thenBy": [{"value": "asc"}, {"stage": "asc"}]},
         "thenBy: 'stage' is named twice"),
        (QUERY, {"thenBy": [{"value": "asc"}]}, "thenBy: goes with orderBy"),
        (QUERY, {"groupBy": ["stage"], "thenBy": [{"value": "asc"}]},
         "thenBy does not go with groupBy and aggregate"),
        (QUERY, {"groupBy": [{"$mont": "closed_on"}]},
         "groupBy: unknown unit '$mont'; did you mean '$month'?"),
        (QUERY, {"aggregate": {"n": {"$cont": "*"}}},
         "aggregate.n: unknown function '$cont'; did you mean '$count'?"),
        (QUERY, {"groupBy": [{"$day": "won_at"}], "timezone": "Europe/Berlinn"},
         "timezone: 'Europe/Berlinn' is not known; did you mean 'Europe/Berlin'?"),
        (QUERY, {"groupBy": ["stage"], "timezone": "nowhere at all"},
         "timezone: 'nowhere at all' is not known"),
        (QUERY, {"groupBy": ["stage"], "having": {"stagee": "x"}}, "did you mean 'stage'?"),
        (BATCH, operations(op="crate"),
         "operations[0].op: invalid enum value 'crate'; did you mean 'create'?"),
        (BATCH, operations(thn="x"), "operations[0]: object contains unknown field `thn`; did"),
        (BATCH, operations(then="updaet"),
         "operations[0].then: invalid enum value 'updaet'; did you mean 'update'?"),
        (f"{CONTACTS}/bulk?onn=email", [{"email": "a"}], "parameter 'onn'; did you mean 'on'?"),
        (f"{CONTACTS}/bulk?on=emial", [{"email": "a"}], "'emial'; did you mean 'email'?"),
        (f"{DEALS}/update-where", {"where": {}, "sett": {}, "max": 1},
         "unknown field `sett`; did you mean 'set'?"),
        (f"{DEALS}/delete-where", {"where": {}, "expct": 1},
         "unknown field `expct`; did you mean 'expect'?"),
        (f"{DEALS}/import?dryrun=true", {}, "parameter 'dryrun'; did you mean 'dryRun'?"),
    ],
)  # fmt: skip
def test_the_nearest_word_is_named(admin: Client, path: str, body: Any, said: str):
    """Also where no record is there to be compared."""
    assert said in refused(admin.post(path, json=body))


def test_a_parameter_of_a_record_is_known_or_named(admin: Client):
    made = admin.post(COMPANIES, json={"name": "Acme"}).json()
    said = refused(admin.get(f"{COMPANIES}/{made['id']}?exapnd=x"))
    assert said == "unknown parameter 'exapnd'; did you mean 'expand'?"
    said = refused(admin.get(f"{COMPANIES}?feilds=name"))
    assert "'feilds'" in said
    assert "did you mean 'fields'?" in said
