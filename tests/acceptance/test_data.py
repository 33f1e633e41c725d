"""Records of an app, as clients meet them."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COMPANY = {"entity": "companies"}
CRM = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "industry", "type": "text", "enum_values": ["Technology", "Finance"]},
                {"name": "owner", "type": "entity_link", "references": {"entity": "core:users"}},
            ],
        },
        {
            "entityName": "contacts",
            "fields": [
                {"name": "first_name", "type": "text", "required": True},
                {"name": "last_name", "type": "text", "required": True},
                {"name": "email", "type": "text"},
                {"name": "tags", "type": "[text]"},
                {"name": "age", "type": "number"},
                {"name": "subscribed", "type": "boolean", "default_value": True},
                {"name": "born", "type": "date"},
                {"name": "seen", "type": "timestamp"},
                {"name": "extra", "type": "json"},
                {"name": "company_id", "type": "entity_link", "references": COMPANY},
            ],
            "indexes": [{"columns": ["email"], "unique": True}],
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "limit", "type": "number"},
                {
                    "name": "company_id",
                    "type": "entity_link",
                    "required": True,
                    "references": COMPANY,
                },
            ],
        },
    ],
}
COLLECTIONS = "/api/v1/apps/crm/collections"
CONTACTS = f"{COLLECTIONS}/contacts"
COMPANIES = f"{COLLECTIONS}/companies"
DEALS = f"{COLLECTIONS}/deals"
UNKNOWN = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@pytest.fixture(scope="module")
def server_options():
    """Where many change one row they queue for it, on a busy machine for long."""
    return {"config": {"database": {"lock_timeout": 15, "statement_timeout": 20}}}


@pytest.fixture(scope="module")
def crm(server):
    assert server.admin.post("/api/v1/apps", json=CRM).status_code == 200
    return server


@pytest.fixture
def admin(crm):
    crm.sql("truncate crm.deals, crm.contacts, crm.companies")
    return crm.admin


def create(client, path=CONTACTS, **values):
    if path == CONTACTS:
        values = {"first_name": "Alice", "last_name": "Martin", **values}
    answer = client.post(path, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer, status=400, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.text.endswith("}")
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


def test_a_record_has_the_shape_of_the_contract(admin):
    record = create(admin, email="alice@acme.com", tags=["vip", "enterprise"])
    assert list(record) == [
        "id", "first_name", "last_name", "email", "tags", "age", "subscribed", "born", "seen",
        "extra", "company_id", "created_at", "updated_at",
    ]  # fmt: skip
    assert uuid.UUID(record["id"])
    assert record["tags"] == ["vip", "enterprise"]
    assert record["age"] is None
    assert record["subscribed"] is True
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", record[name])


def test_a_record_lives_from_create_to_delete(admin):
    record = create(admin)
    path = f"{CONTACTS}/{record['id']}"
    assert admin.get(path).json() == record
    assert admin.get(CONTACTS).json() == [record]
    changed = admin.patch(path, json={"email": "a@b.de"})
    assert changed.status_code == 200
    assert changed.json()["email"] == "a@b.de"
    assert changed.json()["last_name"] == "Martin"
    # Not as texts: where the last digits are zeros they are left out.
    was, now = (datetime.fromisoformat(one["updated_at"]) for one in (record, changed.json()))
    assert now > was
    assert changed.json()["created_at"] == record["created_at"]
    gone = admin.delete(path)
    assert (gone.status_code, gone.json()) == (200, {"message": f"record '{record['id']}' deleted"})
    for answer in (admin.get(path), admin.delete(path), admin.patch(path, json={"email": None})):
        refused(answer, 404, f"record '{record['id']}' not found")
    assert admin.get(CONTACTS).text == "[]"


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        ("age", "41.5", 41.5),
        ("age", "", None),
        ("subscribed", "false", False),
        ("subscribed", "", None),
        ("born", "1990-02-28", "1990-02-28"),
        ("seen", "2024-01-15T10:30:00", "2024-01-15T10:30:00Z"),
        ("seen", "2024-01-15T10:30:00+05:30", "2024-01-15T05:00:00Z"),
        ("email", " ", " "),
        ("extra", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ("extra", "text", "text"),
        ("extra", None, None),
        ("tags", [], []),
        ("company_id", "", None),
    ],
)
def test_values_are_taken_in_their_type_or_as_text(admin, field, sent, stored):
    record = create(admin, **{field: sent})
    assert record[field] == stored
    changed = admin.patch(f"{CONTACTS}/{record['id']}", json={field: sent})
    assert changed.json()[field] == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("age", "old"), ("age", True), ("age", []), ("age", "NaN"), ("age", 2**53 + 1),
        ("age", 10**400), ("subscribed", 1), ("subscribed", "yes"), ("born", "31.12.1999"),
        ("born", "2023-02-29"), ("seen", "yesterday"), ("seen", 5), ("email", 5), ("email", {}),
        ("tags", "vip"), ("tags", [1]), ("tags", {}), ("company_id", "x"), ("company_id", 5),
        ("first_name", None), ("email", "a\0b"), ("extra", {"a\0": 1}), ("tags", ["\0"]),
    ],
)  # fmt: skip
def test_everything_else_is_refused_by_name(admin, field, value):
    body = {"first_name": "a", "last_name": "b", field: value}
    refused(admin.post(CONTACTS, json=body), 400)
    if "\0" not in json.dumps(value).replace("\\u0000", "\0"):
        refused(admin.post(CONTACTS, json=body), 400, f"contacts.{field}")
    assert admin.get(CONTACTS).json() == []


def test_breaches_are_reported_in_words(admin):
    refused(
        admin.post(COMPANIES, json={"name": "x", "industry": "Mining"}),
        400,
        "companies.industry must be one of Technology, Finance",
    )
    body = {"first_name": "a", "last_name": "b", "company_id": UNKNOWN}
    refused(admin.post(CONTACTS, json=body), 400, "contacts.company_id: no such companies record")
    refused(admin.post(COMPANIES, json={"name": "x", "owner": UNKNOWN}), 400, "companies.owner")
    create(admin, email="a@b.de")
    body = {"first_name": "a", "last_name": "b", "email": "a@b.de"}
    refused(admin.post(CONTACTS, json=body), 400, "contacts.email", "already taken")
    refused(admin.post(CONTACTS, json={"first_name": "a"}), 400, "contacts.last_name is required")
    company = create(admin, COMPANIES, name="Acme", owner=admin.id)
    create(admin, DEALS, title="big", company_id=company["id"])
    refused(admin.delete(f"{COMPANIES}/{company['id']}"), 400, "deals.company_id")


def test_a_link_is_cleared_where_its_record_goes(admin):
    company = create(admin, COMPANIES, name="Acme")
    contact = create(admin, company_id=company["id"])
    assert admin.delete(f"{COMPANIES}/{company['id']}").status_code == 200
    assert admin.get(f"{CONTACTS}/{contact['id']}").json()["company_id"] is None


def test_a_client_that_pages_sees_every_record_once(admin):
    rows = [{"first_name": str(i), "last_name": "x", "age": i % 3 or None} for i in range(25)]
    assert admin.post(f"{CONTACTS}/bulk", json=rows).status_code == 201
    for sort in ("created_at", "age", "first_name"):
        seen, url = [], f"{CONTACTS}?limit=10&sort={sort}&order=asc&last_name=x"
        while url:
            answer = admin.get(url)
            seen += [record["first_name"] for record in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert sorted(seen, key=int) == [str(i) for i in range(25)]


def test_a_query_has_data_and_total(admin):
    rows = [{"first_name": str(i), "last_name": "x", "age": i} for i in range(12)]
    admin.post(f"{CONTACTS}/bulk", json=rows)
    body = {
        "where": {"age": {"$gte": "2"}, "$or": [{"age": {"$lt": 5}}, {"first_name": "11"}]},
        "orderBy": "age", "order": "asc", "limit": 2, "offset": 1,
    }  # fmt: skip
    answer = admin.post(f"{CONTACTS}/query", json=body)
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "total"]
    assert [record["age"] for record in answer.json()["data"]] == [3, 4]
    assert answer.json()["total"] == 4


def test_a_field_named_like_a_parameter_is_filtered_by_query(admin):
    company = create(admin, COMPANIES, name="Acme")["id"]
    for i in (5, 6):
        create(admin, DEALS, title="t", limit=i, company_id=company)
    assert len(admin.get(DEALS, params={"limit": 5}).json()) == 2
    answer = admin.post(f"{DEALS}/query", json={"where": {"limit": 5}}).json()
    assert [deal["limit"] for deal in answer["data"]] == [5]


def test_bulk_is_all_or_nothing(admin):
    rows = [{"first_name": str(i), "last_name": "x"} for i in range(5)]
    made = admin.post(f"{CONTACTS}/bulk", json=rows)
    assert [record["first_name"] for record in made.json()] == ["0", "1", "2", "3", "4"]
    assert all(record["subscribed"] for record in made.json())
    rows = [{**rows[0], "email": "e"}, rows[1], {**rows[2], "email": "e"}]
    refused(admin.post(f"{CONTACTS}/bulk", json=rows), 400, "[2]", "contacts.email")
    assert len(admin.get(CONTACTS).json()) == 5


def test_every_write_is_in_the_audit_trail_with_its_actor(crm, admin):
    record = create(admin)
    path = f"{CONTACTS}/{record['id']}"
    admin.patch(path, json={"email": "b@c.de"})
    admin.delete(path, headers={"x-request-id": "the-delete"})
    rows = admin.get("/api/v1/audit", params={"record_id": record["id"]}).json()
    assert [row["operation"] for row in rows] == ["DELETE", "UPDATE", "INSERT"]
    assert {row["actor_id"] for row in rows} == {admin.id}
    assert rows[0]["request_id"] == "the-delete"
    assert rows[1]["new_record"]["email"] == "b@c.de"


def test_parallel_writers_do_not_disturb_each_other(admin):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda i: create(admin, first_name=str(i)), range(64)))
        path = f"{CONTACTS}/{made[0]['id']}"
        answers = list(pool.map(lambda i: admin.patch(path, json={"age": i}), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(admin.get(CONTACTS).json()) == 64


def test_users_without_a_role_get_nothing(crm, admin):
    record = create(admin)
    user = crm.user()
    for method, path in (
        ("GET", CONTACTS),
        ("GET", f"{CONTACTS}/{record['id']}"),
        ("GET", f"{COLLECTIONS}/nothing"),
        ("POST", f"{CONTACTS}/query"),
        ("POST", f"{CONTACTS}/bulk"),
        ("POST", CONTACTS),
        ("PATCH", f"{CONTACTS}/{record['id']}"),
        ("DELETE", f"{CONTACTS}/{record['id']}"),
    ):
        refused(user.request(method, path, json={}), 403)
        refused(crm.http.request(method, path, json={}), 401)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/apps/nothing/collections/x",
        f"{COLLECTIONS}/nothing",
        f"{COLLECTIONS}/Contacts",
        f"{COLLECTIONS}/contacts%22",
        "/api/v1/apps/core/collections/users",
        "/api/v1/apps/public/collections/users",
        "/api/v1/apps/caudex_auth/collections/users",
    ],
)
def test_what_is_no_collection_is_not_found(admin, path):
    refused(admin.get(path), 404)
    refused(admin.post(path, json={"a": 1}), 404)


def test_odd_ids_are_refused_or_not_found(admin):
    for odd in (
        "x",
        "%00",
        "%ff",
        "1%2F2",
        "' or 1=1",
        UNKNOWN + "x",
        "..",
        "a" * 2000,
        "%F0%9F%98%80",
    ):
        assert admin.get(f"{CONTACTS}/{odd}").status_code in (400, 404), odd
        assert admin.delete(f"{CONTACTS}/{odd}").status_code in (400, 404, 405), odd


FIELDS = [field["name"] for field in CRM["dataContract"][1]["fields"]]
OPERATORS = [
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$like", "$ilike", "$in", "$nin", "$contains",
    "$isNull", "$and", "$or", "$not",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        [UNKNOWN, "2024-01-01", "2024-01-01T00:00:00Z", "true", "1e5", "", "\\", "%"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "$eq",
                    "$ne",
                    "$gt",
                    "$gte",
                    "$lt",
                    "$lte",
                    "$like",
                    "$ilike",
                    "$in",
                    "$nin",
                    "$contains",
                    "$isNull",
                    "$and",
                    "$or",
                    "$not",
                    "age",
                    "email",
                    "tags",
                    "extra",
                    "seen",
                    "born",
                    "id",
                    "created_at",
                    "company_id",
                    "subscribed",
                    "$x",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def in_floats(text):
    """PostgreSQL writes a large float without an exponent, which Python would read as an int."""
    return json.loads(text, parse_int=float)


@FUZZ
@given(body=st.dictionaries(st.sampled_from([*FIELDS, "id", "x"]), VALUES, max_size=4))
def test_no_body_is_a_server_error(crm, body):
    body = {"first_name": "a", "last_name": "b", **body}
    answer = crm.admin.post(CONTACTS, json=body)
    assert answer.status_code in (201, 400), answer.text
    if answer.status_code == 201:
        path = f"{CONTACTS}/{answer.json()['id']}"
        assert crm.admin.patch(path, json=body).status_code in (200, 400)
        for name in ("extra", "first_name", "tags"):
            if body.get(name) not in (None, ""):
                assert in_floats(answer.text)[name] == in_floats(json.dumps(body))[name]
    else:
        refused(answer)


@pytest.mark.slow
@FUZZ
@given(where=VALUES, order=VALUES, limit=VALUES)
def test_no_query_is_a_server_error(crm, where, order, limit):
    for body in ({"where": where}, {"orderBy": order}, {"limit": limit, "offset": limit}, where):
        answer = crm.admin.post(f"{CONTACTS}/query", json=body)
        assert answer.status_code in (200, 400), answer.text


@FUZZ
@given(
    params=st.dictionaries(
        st.sampled_from([*FIELDS, "limit", "offset", "sort", "order", "after", "x", "id"]),
        st.text() | st.sampled_from([*FIELDS, UNKNOWN, "1", "true", "2024-01-01"]),
        max_size=3,
    )
)
def test_no_parameter_is_a_server_error(crm, params):
    answer = crm.admin.get(CONTACTS, params={"limit": "5", **params})
    assert answer.status_code in (200, 400), answer.text
