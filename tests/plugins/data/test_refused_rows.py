"""Rows that PostgreSQL refuses are found by one statement, and by the same rules as one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from kernel.database.transactions import Transaction
from kernel.testing import Client, Server
from plugins.data.imports import chunks
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, add, empty, query

MISSING = "00000000-0000-4000-8000-000000000000"
NDJSON = {"content-type": "application/x-ndjson"}
Row = dict[str, Any]


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def load(client: Client, rows: list[Row], path: str = CONTACTS, **params: str) -> dict[str, Any]:
    """Import rows, and return the report."""
    body = "".join(json.dumps(row) + "\n" for row in rows)
    answer = client.post(f"{path}/import", content=body, params=params, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Generator[list[object]]:
    """Collect the statements of transactions that run for a user; others may run beside them."""
    statements: list[object] = []
    read = Transaction.read

    async def reading(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if self.actor.user_id is not None:
            statements.append(query)
        return await read(self, query, *args, **kwargs)

    with patch.context() as patched:
        patched.setattr(Transaction, "read", reading)
        yield statements


@pytest.mark.parametrize("mode", ["all", "valid"])
def test_a_file_that_is_there_already_takes_few_statements(
    admin: Client, mode: str, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"email": f"e{number}"} for number in range(3000)]
    assert load(admin, rows)["created"] == 3000
    with counted(monkeypatch) as statements:
        report = load(admin, rows, mode=mode)
    assert (report["rows"], report["valid"], report["created"]) == (3000, 0, 0)
    assert len(report["errors"]) == 1000
    last = report["errors"][-1]
    said = "contacts.email: this value is already taken"
    assert last == {"row": 1000, "field": "email", "value": "e999", "error": said}
    # For each thousand of rows: a savepoint, the insert, the way back, the search for the reason.
    assert len(statements) <= 3 * 4 + 1, statements
    assert query(admin, CONTACTS)["total"] == 3000


@pytest.mark.parametrize(
    ("row", "path", "said"),
    [
        ({"company_id": MISSING}, CONTACTS, "contacts.company_id: no such companies record"),
        ({"boss_id": MISSING}, CONTACTS, "contacts.boss_id: no such contacts record"),
        ({"owner_id": MISSING}, DEALS, "deals.owner_id: no such user"),
    ],
)
def test_a_file_of_wrong_links_takes_few_statements(
    admin: Client, row: Row, path: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    with counted(monkeypatch) as statements:
        report = load(admin, [row] * 1000, path)
    assert report["valid"] == 0
    assert {each["error"] for each in report["errors"]} == {said}
    assert len(statements) <= 5, statements


def test_rows_that_repeat_each_other_take_few_statements(
    admin: Client, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"email": f"e{number % 10}"} for number in range(1000)]
    with counted(monkeypatch) as statements:
        report = load(admin, rows, mode="valid")
    assert (report["created"], report["valid"]) == (10, 10)
    assert [each["row"] for each in report["errors"]] == [*range(11, 1001)]
    assert len(statements) <= 8, statements


def test_rows_that_meet_records_of_others_take_few_statements(
    shop: Server, admin: Client, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"email": f"e{number}"} for number in range(1000)]
    assert load(admin, rows)["created"] == 1000
    writer = shop.user(
        permissions={"shop": ["contacts.create", "contacts.read", "contacts.update.own"]}
    )
    with counted(monkeypatch) as statements:
        report = load(writer, [*rows, {"email": "new"}], on="email", mode="valid")
    assert (report["valid"], report["created"], report["updated"]) == (1, 1, 0)
    assert report["errors"][0]["error"] == "contacts.email: this value is already taken"
    assert len(statements) <= 15, statements


def test_an_ignored_record_takes_no_statement_of_its_own(
    admin: Client, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"email": f"e{number}"} for number in range(1000)]
    made = admin.post(f"{CONTACTS}/bulk", json=rows).json()
    with counted(monkeypatch) as statements:
        answer = admin.post(f"{CONTACTS}/bulk?on=email&then=ignore", json=rows)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [{"result": "ignored", "record": each} for each in made]
    assert len(statements) <= 3, statements


def rows_of(random: Random, companies: list[str]) -> list[Row]:
    """Rows of which some are taken, repeat each other, or link to nothing."""
    made: list[Row] = []
    for number in range(random.randint(1, 40)):
        email = random.choice([None, f"e{random.randint(0, 30)}", f"new{number}"])
        row: Row = {"email": email}
        if random.random() < 0.5:
            row["company_id"] = random.choice([*companies, None, MISSING])
        made.append(row)
    return made


def stored(client: Client) -> list[tuple[Any, Any]]:
    found = query(client, CONTACTS, limit=1000)["data"]
    return sorted((each["email"] or "", each["company_id"] or "") for each in found)


@pytest.mark.slow
def test_a_refused_file_costs_about_what_an_accepted_one_does(admin: Client):
    """Row by row it took a hundred times as much processor time, and 50,000 rows a 503."""
    rows = [{"email": f"e{number}"} for number in range(50_000)]
    spent: list[float] = []
    for created in (50_000, 0):
        before = time.process_time()
        report = load(admin, rows, mode="valid")
        spent.append(time.process_time() - before)
        assert (report["created"], report["valid"]) == (created, created)
    accepted, refused = spent
    assert refused < 10 * accepted, spent


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"on": "email"}], ids=["new", "on"])
def test_a_file_is_read_as_it_is_row_by_row(
    shop: Server, admin: Client, params: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    random = Random(str(params))
    for _ in range(12):
        found: list[Any] = []
        state = random.getstate()
        for rounds in (chunks.MAX_ROUNDS, 0):
            monkeypatch.setattr(chunks, "MAX_ROUNDS", rounds)
            random.setstate(state)
            empty(shop)
            ids = [add(admin, COMPANIES, name=name)["id"] for name in "ab"]
            for number in range(8):
                add(admin, CONTACTS, email=f"e{number}")
            names = dict(zip(ids, "ab", strict=True))
            report = load(admin, rows_of(random, ids), mode="valid", **params)
            wrong = [(each["row"], each["field"]) for each in report.pop("errors")]
            table = [(email, names.get(company, "")) for email, company in stored(admin)]
            found.append((report, wrong, sorted(table)))
        assert found[0] == found[1]


def test_a_bulk_names_its_first_wrong_row(admin: Client):
    company = add(admin, COMPANIES, name="Acme")["id"]
    add(admin, CONTACTS, email="taken")
    good = {"email": "new", "company_id": company}
    taken = "contacts.email: this value is already taken"
    missing = "contacts.company_id: no such companies record"
    cases: list[tuple[Row, str]] = [
        ({"email": "taken"}, taken),
        ({"email": "new"}, taken),
        ({"company_id": MISSING}, missing),
        ({"email": "taken", "company_id": MISSING}, taken),
    ]
    for row, said in cases:
        answer = admin.post(f"{CONTACTS}/bulk", json=[good, row, row])
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] == f"[1] {said}"
    assert query(admin, CONTACTS)["total"] == 1
