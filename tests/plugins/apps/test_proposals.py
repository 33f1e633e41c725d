"""Apps from files of rows: what is proposed, why, and that it can be installed and imported."""

from __future__ import annotations

import csv
import io

import pytest

from .support import fresh_id

PATH = "/api/v1/apps/from-data"
CUSTOMERS = "code,Name,Since,VIP\nC1,Ada,2024-01-31,yes\nC2,Bob,2024-02-01,no\n"
ORDERS = (
    "Order No;customer_code;Total;Sent on;State;Note\n"
    '1;C2;1.234,50;31.12.2024;open;\n2;C1;12,00;01.01.2025;paid;"x;y"\n3;C2;7,5;02.01.2025;paid;\n'
    "4;C1;1,0;03.01.2025;open;\n5;C1;2,0;03.01.2025;open;\n6;C2;3,0;03.01.2025;paid;\n"
)


def send(client, *files, status=200, **texts):
    parts = [("file", (name, content, "text/csv")) for name, content in files]
    answer = client.post(PATH, files=parts, data=texts)
    assert answer.status_code == status, answer.text
    return answer.json()


def types_of(proposal, entity):
    (contract,) = [e for e in proposal["manifest"]["dataContract"] if e["entityName"] == entity]
    return {field["name"]: field["type"] for field in contract["fields"]}


def with_header(content, header, delimiter):
    """The file as the import takes it: its first line has the names of the proposal."""
    rows = list(csv.reader(io.StringIO(content), delimiter=delimiter))
    target = io.StringIO()
    csv.writer(target, delimiter=delimiter).writerows([header, *rows[1:]])
    return target.getvalue()


def test_files_become_tables_with_types_and_links_and_are_imported(server):
    app = fresh_id()
    files = (("orders.csv", ORDERS), ("Customers.csv", CUSTOMERS))
    proposal = send(server.admin, *files, name="My shop", appId=app)
    assert server.admin.get(f"/api/v1/apps/{app}").status_code == 404
    assert proposal["manifest"]["name"] == "My shop"
    assert types_of(proposal, "customers") == {
        "code": "text", "name": "text", "since": "date", "vip": "boolean",
    }  # fmt: skip
    assert types_of(proposal, "orders") == {
        "order_no": "number", "customer_code": "entity_link", "total": "number",
        "sent_on": "date", "state": "text", "note": "text",
    }  # fmt: skip
    assert proposal["links"] == [
        {
            "entity": "orders", "field": "customer_code", "target": "customers", "key": "code",
            "why": "every value is the code of a row of Customers.csv, and no two rows there have "
            "the same",
        }
    ]  # fmt: skip
    customers, orders = proposal["tables"]
    assert orders["header"][:3] == ["order_no", "customer_code.code", "total"]
    assert orders["options"] == {"dates": "dmy", "decimal": ","}
    assert {c["name"]: c["why"] for c in orders["columns"]}["state"] == "2 values occur in 6 rows"

    installed = server.admin.post("/api/v1/apps", json=proposal["manifest"])
    assert installed.status_code == 200, installed.text
    for table, content, delimiter in ((customers, CUSTOMERS, ","), (orders, ORDERS, ";")):
        answer = server.admin.post(
            f"/api/v1/apps/{app}/collections/{table['entity']}/import",
            params=table["options"],
            content=with_header(content, table["header"], delimiter),
            headers={"content-type": "text/csv"},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["errors"] == []
    ((name, total, sent),) = server.sql(
        f"select c.name, o.total, o.sent_on::text from {app}.orders o"
        f" join {app}.customers c on c.id = o.customer_code where o.order_no = 1"
    )
    assert (name, total, sent) == ("Bob", 1234.5, "2024-12-31")


def test_rows_of_json_become_tables(server):
    rows = {
        "name": "Zoo",
        "tables": {
            "animals": [{"id": "a", "kind": "cat", "tags": ["x"]}, {"id": "b", "legs": 4}],
            "visits": [{"animal_id": "a", "at": "2024-01-01T10:00:00Z"}, {"animal_id": "a"}],
        },
    }
    answer = server.admin.post(PATH, json=rows)
    assert answer.status_code == 200, answer.text
    proposal = answer.json()
    assert types_of(proposal, "animals") == {
        "id": "text", "kind": "text", "tags": "json", "legs": "number",
    }  # fmt: skip
    assert types_of(proposal, "visits") == {"animal_id": "entity_link", "at": "timestamp"}
    verdict = server.admin.post("/api/v1/apps/schema/verify", json=proposal["manifest"])
    assert verdict.status_code == 200, verdict.text


def test_lines_of_json_are_read_by_their_name(server):
    proposal = send(server.admin, ("a.ndjson", '{"x": 1}\n{"x": 2.5, "y": true}\n'))
    assert types_of(proposal, "a") == {"x": "number", "y": "boolean"}


def test_dates_that_can_be_either_way_are_asked(server):
    content = "day\n01/02/2024\n03/04/2024\n"
    proposal = send(server.admin, ("a.csv", content))
    assert types_of(proposal, "a") == {"day": "text"}
    assert proposal["tables"][0]["questions"] == [
        "dates: day can be read with the day or the month first: send dates=dmy or mdy"
    ]
    proposal = send(server.admin, ("a.csv", content), dates="mdy")
    assert types_of(proposal, "a") == {"day": "date"}
    assert proposal["tables"][0]["options"] == {"dates": "mdy"}
    mixed = "day\n2024-01-31\n31/01/2024\n1/31/2024\n"
    assert types_of(send(server.admin, ("a.csv", mixed)), "a") == {"day": "text"}


def test_values_of_several_types_are_texts_and_codes_keep_their_zeros(server):
    proposal = send(server.admin, ("a.csv", "mixed,code,xmin\n1,007,a\ntwo,008,b\n,009,c\n"))
    assert types_of(proposal, "a") == {"mixed": "text", "code": "text", "a_xmin": "text"}


def test_three_hundred_columns_are_read(server):
    header = ",".join(f"Column {n}" for n in range(300))
    row = ",".join(str(n) for n in range(300))
    proposal = send(server.admin, ("wide.csv", f"{header}\n{row}\n"))
    assert len(types_of(proposal, "wide")) == 300
    assert set(types_of(proposal, "wide").values()) == {"number"}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.csv", "", "a.csv has no header"),
        ("a.csv", "1,2,2024-01-01\n3,4,2024-01-01\n", "a.csv has no header: its first row has"),
        ("a.csv", "a,b\n1\n", "a.csv, line 2: 1 values, the header has 2"),
        ("a.csv", ",".join(["x"] * 501), "a.csv has 501 columns, at most 500 are used"),
        ("a.csv", b"a\n\xff\xfe\xff\n", "a.csv is not UTF-8"),
        ("a.ndjson", "[1]\n", "a.ndjson, line 1: is no JSON object"),
        ("***.csv", "a\n1\n", "***.csv gives no name for an entity"),
    ],
)
def test_what_is_no_table_is_refused(server, name, content, error):
    assert error in send(server.admin, (name, content), status=400)["error"]


def test_bad_requests_say_what_is_missing(server):
    assert "no file" in send(server.admin, ("", ""), status=400, name="x")["error"]
    two = (("a.csv", "x\n1\n"), ("A.csv", "x\n1\n"))
    assert "rename one" in send(server.admin, *two, status=400)["error"]
    answer = server.admin.post(PATH, json={"name": "x", "tables": {"a": []}})
    assert answer.json()["error"] == "tables.a: must be a list of objects, one for each row"
    answer = server.admin.post(PATH, json={"name": "x", "tables": {"a": [1]}})
    assert answer.status_code == 400
    assert send(server.admin, ("a.csv", "x\n1\n"), appId="core", status=400)["error"] == (
        "appId: 'core' is reserved"
    )


def test_who_may_install_nothing_is_refused(server):
    answer = server.user().post(PATH, json={"name": "x", "tables": {"a": [{"b": 1}]}})
    assert answer.status_code == 403
