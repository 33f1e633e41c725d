"""What one import may cost: processor time, memory, places and time, and the words that say so."""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from kernel.public import BadRequest, Entity, Field, Grant, ImportOptions
from kernel.testing import Client, Postgres, Server, running_server
from plugins.data.columns.columns import MAX_COLUMNS
from plugins.data.exchange.lines import MAX_COMMAS
from plugins.data.exchange.parse import CHUNK_ROWS, Problem, RowReader
from plugins.data.imports import imports
from plugins.data.statements.entity_table import Table
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import BASE, CONTACTS, DEALS, MANIFEST, holding, install, query
from tests.plugins.data.support import refused
from tests.waiting import eventually

PEOPLE = f"{BASE}/people"
PEOPLE_ENTITY: dict[str, Any] = {
    "entityName": "people",
    "fields": [
        {"name": "email", "type": "text"},
        {"name": "company_id", "type": "entity_link", "references": {"entity": "companies"}},
    ],
    "indexes": [{"columns": ["email"], "unique": True}],
}
MARKS = f"{BASE}/marks"
MARKS_ENTITY: dict[str, Any] = {
    "entityName": "marks",
    "fields": [
        {"name": "code", "type": "text", "required": True},
        {"name": "note", "type": "text"},
    ],
    "indexes": [{"columns": ["code"], "unique": True}],
}
CSV = {"content-type": "text/csv"}
NDJSON = {"content-type": "application/x-ndjson"}
FIELDS = ("title", "details")


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    tree = overrides()
    tree["database"] = {"lock_timeout": 60.0, "statement_timeout": 60.0}
    with running_server(postgres, tree) as running:
        entities = [*MANIFEST["dataContract"], PEOPLE_ENTITY, MARKS_ENTITY]
        install(running, {**MANIFEST, "dataContract": entities})
        yield running


def reader(text: str | bytes, kind: Any = "csv") -> RowReader:
    fields = (
        Field(name="title", type="text", sql_type="text"),
        Field(name="details", type="json", sql_type="jsonb"),
    )
    entity = Entity(app_id="shop", name="deals", id_type="uuid", id_declared=False, fields=fields)
    raw = text if isinstance(text, bytes) else text.encode()
    options = ImportOptions(file_format=kind)
    return RowReader(io.BytesIO(raw), options, Table(entity, {}), Grant(), complete=True)


def refusal(text: str | bytes, kind: Any = "csv") -> str:
    """What is said of a file that is refused as a whole."""
    with pytest.raises(BadRequest) as caught:
        reader(text, kind).chunk()
    return caught.value.message


def problem(text: str | bytes, kind: Any = "csv") -> Problem:
    """What is wrong with the only row of a file."""
    chunk = reader(text, kind).chunk()
    assert chunk is not None
    [found] = chunk.problems
    return found


# --- files


def test_a_header_costs_no_more_than_its_length():
    """40,000 names cost 28 seconds: each was compared with all others."""
    names = ",".join(f"name_{number}" for number in range(1_000_000))
    began = time.thread_time()
    assert refusal(names) == f"the header names more than {MAX_COLUMNS} columns"
    assert time.thread_time() - began < 2


def test_a_header_over_several_lines_is_bounded():
    lines = "\n".join(['"' + "," * 100 + '"' + ",a" * 100] * 5)
    assert refusal(f'"{lines}"') == f"the header names more than {MAX_COLUMNS} columns"


def test_a_name_that_is_there_twice_is_named():
    assert refusal("title,details,title\n") == "the header names 'title' twice"


@pytest.mark.slow
def test_a_row_is_bounded_before_it_is_split():
    row = "," * (MAX_COMMAS + 1)
    assert refusal(f"title\n{row}\n") == f"row 1 has more than {MAX_COMMAS} commas"
    lines = '","\n' * (MAX_COMMAS // 2)
    assert reader(f'title\n"{lines}"\n').chunk() is not None
    assert refusal(f'title\na\n"{"," * 600_000}\n{"," * 600_000}"\n') == (
        f"row 2 has more than {MAX_COMMAS} commas"
    )


def test_the_commas_of_rows_do_not_add_up():
    text = "title\n" + ('"' + "," * (MAX_COMMAS // 4) + '"\n') * 6
    source, rows = reader(text), 0
    while (chunk := source.chunk()) is not None:
        rows += len(chunk.rows)
    assert rows == 6


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[" * 65 + "]" * 65, "the JSON is nested more than 64 deep"),
        ('"a\\u0000b"', "text must not contain the character U+0000"),
        ('{"a": ', "is not valid JSON"),
        ("[1]]", "is not valid JSON"),
        (f"[{'[],' * 1_000_001}0]", "the JSON has more than 1000000 values"),
    ],
    ids=["deep", "NUL", "cut off", "unbalanced", "many"],
)
def test_lines_and_cells_have_the_bounds_of_bodies(value: str, said: str):
    if value.count(",") < MAX_COMMAS:  # else the row is refused before
        cell = value.replace('"', '""')
        found = problem(f'details\n"{cell}"\n')
        assert (found.row, found.field) == (1, "details")
        assert said in found.error
    found = problem(f'{{"details": {value}}}', "ndjson")
    assert found.row == 1
    assert said in found.error


def test_a_line_that_is_not_utf_8_is_named():
    found = problem(b'{"title": "\xff"}\n', "ndjson")
    assert (found.error, found.value) == ("the line is not UTF-8", '{"title": "\ufffd"}\n')


def test_lines_may_begin_with_a_mark_and_end_like_on_windows():
    chunk = reader(b'\xef\xbb\xbf{"title": "a"}\r\n\r\n{"title": "b"}\r\n', "ndjson").chunk()
    assert chunk is not None
    assert chunk.rows == [(1, {"title": "a"}), (2, {"title": "b"})]


# --- dry runs


def empty_people(server: Server) -> None:
    server.sql("truncate shop.people, shop.odd, shop.deals, shop.contacts, shop.companies")


def test_a_dry_run_finds_what_the_import_would(shop: Server):
    """Rows of several parts are tested; see `test_dry_runs.py` for the report of the import."""
    empty_people(shop)
    shop.sql("insert into shop.companies (name) values ('x')")
    missing = "00000000-0000-4000-8000-000000000000"
    count = 2 * CHUNK_ROWS + 10
    rows = [[f"user{number}", ""] for number in range(count)]
    rows[CHUNK_ROWS + 5] = ["user3", ""]  # as in the part before
    rows[CHUNK_ROWS + 6] = [f"user{CHUNK_ROWS + 7}", ""]  # of which the next one is a repetition
    rows[2 * CHUNK_ROWS + 1] = [f"user{CHUNK_ROWS + 1}", ""]  # as in an earlier part
    rows[2 * CHUNK_ROWS + 2] = ["new", missing]
    rows[2 * CHUNK_ROWS + 3] = ["", ""]
    rows[2 * CHUNK_ROWS + 4] = ["", ""]
    text = "email,company_id\n" + "".join(f"{email},{company}\n" for email, company in rows)
    answer = shop.admin.post(
        f"{PEOPLE}/import", content=text.encode(), params={"dryRun": "true"}, headers=CSV
    )
    report = answer.json()
    assert [problem["row"] for problem in report["errors"]] == [
        CHUNK_ROWS + 6, CHUNK_ROWS + 8, 2 * CHUNK_ROWS + 2, 2 * CHUNK_ROWS + 3,
    ]  # fmt: skip
    assert [problem["field"] for problem in report["errors"]] == [
        "email", "email", "email", "company_id",
    ]  # fmt: skip
    assert (report["rows"], report["valid"], report["created"]) == (count, count - 4, count - 4)
    assert shop.sql("select count(*) from shop.people") == [(0,)]


def test_a_dry_run_with_a_key_says_what_the_import_would(shop: Server):
    """Rows of a file with `on` are tested and lock nothing; the report is the same."""
    empty_people(shop)
    shop.sql("truncate shop.marks")
    shop.sql(
        "insert into shop.marks (code, note) select 'c' || n, 'old' from generate_series(0, %s) n",
        CHUNK_ROWS + 20,
    )
    count = 2 * CHUNK_ROWS + 40
    rows = [[f"c{number}", "old" if number % 2 else "new"] for number in range(count)]
    rows[CHUNK_ROWS + 30] = [f"c{CHUNK_ROWS + 29}", "again"]  # made by the row before it
    rows[2 * CHUNK_ROWS + 30] = [f"c{CHUNK_ROWS + 29}", "once more"]  # made in an earlier part
    rows[2 * CHUNK_ROWS + 31] = ["c3", "old"]  # unchanged
    rows[2 * CHUNK_ROWS + 32] = ["", ""]  # code is required
    text = "code,note\n" + "".join(f"{code},{note}\n" for code, note in rows)
    params = {"dryRun": "true", "on": "code"}
    answer = shop.admin.post(f"{MARKS}/import", content=text.encode(), params=params, headers=CSV)
    report = answer.json()
    assert [(problem["row"], problem["field"]) for problem in report["errors"]] == [
        (2 * CHUNK_ROWS + 33, "code")
    ]
    met = CHUNK_ROWS + 21
    created = count - met - 4
    assert (report["valid"], report["created"]) == (count - 1, created)
    assert (report["updated"], report["unchanged"]) == (count - 1 - created, met // 2 + 1)
    assert shop.sql("select count(*) from shop.marks") == [(met,)]
    assert shop.sql("select count(*) from shop.marks where note <> 'old'") == [(0,)]
    done = shop.admin.post(
        f"{MARKS}/import",
        content=text.encode(),
        params={"on": "code", "mode": "valid"},
        headers=CSV,
    ).json()
    assert done == report


def test_a_dry_run_remembers_a_bounded_number_of_values(
    shop: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("plugins.data.imports.dry_runs.MAX_KEYS", CHUNK_ROWS)
    empty_people(shop)
    lines = "".join(f"user{number},\n" for number in range(3 * CHUNK_ROWS))
    text = "email,company_id\n" + lines + "user5,\n"
    answer = shop.admin.post(
        f"{PEOPLE}/import", content=text.encode(), params={"dryRun": "true"}, headers=CSV
    )
    assert [problem["row"] for problem in answer.json()["errors"]] == [3 * CHUNK_ROWS + 1]


# --- places


def send(client: Client, answers: list[httpx.Response], path: str = DEALS) -> threading.Thread:
    """Import a row in a thread, which ends with the answer."""

    def work() -> None:
        body = b"title\nx\n" if path == DEALS else b"email\nx\n"
        answers.append(client.post(f"{path}/import", content=body, headers=CSV))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def places(server: Server) -> Any:
    """The limiter of imports."""
    from kernel.contracts.records import RECORDS

    return server.services.get(RECORDS).writes.imports.places  # type: ignore[attr-defined]


@pytest.fixture
def users(shop: Server) -> list[Client]:
    """Users who import. They are made before the imports, which may hold all that an app has."""
    return [holding(shop, "deals.create", "contacts.create") for _ in range(5)]


@pytest.fixture
def locked(shop: Server, users: list[Client]) -> Generator[Callable[[], None]]:
    """Keeps all imports of deals under way until the function is called."""
    empty_people(shop)
    with psycopg.connect(shop.dsn) as other:
        other.execute("lock table shop.deals in access exclusive mode")
        yield other.rollback


def under_way(
    shop: Server, users: list[Client]
) -> list[tuple[threading.Thread, list[httpx.Response]]]:
    """Begin an import of each user, which waits for the lock of `locked`."""
    begun = list[tuple[threading.Thread, list[httpx.Response]]]()
    for number, user in enumerate(users, 1):
        answers = list[httpx.Response]()
        begun.append((send(user, answers), answers))
        eventually(lambda number=number: places(shop)._active == number)
    return begun


def test_users_beyond_the_places_wait_in_order(
    shop: Server, users: list[Client], locked: Callable[[], None]
):
    *importers, last = users
    begun = under_way(shop, importers)
    answers = list[httpx.Response]()
    waiting = send(last, answers, CONTACTS)
    eventually(lambda: places(shop)._waiting)
    locked()
    for thread, _ in begun:
        thread.join(30)
    waiting.join(30)
    assert [got[0].status_code for _, got in begun] == [200] * 4
    assert answers[0].status_code == 200
    assert query(shop.admin, CONTACTS)["total"] == 1


def test_a_refusal_says_whose_imports_are_under_way(
    shop: Server, users: list[Client], locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    *importers, last = users
    begun = under_way(shop, importers)
    monkeypatch.setattr(places(shop), "timeout", 0.1)
    own = importers[0].post(f"{DEALS}/import", content=b"title\nx\n", headers=CSV)
    assert refused(own, 503) == "an import of this user is under way"
    other = last.post(f"{DEALS}/import", content=b"title\nx\n", headers=CSV)
    assert refused(other, 503) == "too many imports are under way"
    assert other.headers["retry-after"] == "10"
    locked()
    for thread, _ in begun:
        thread.join(30)


def test_the_files_that_a_user_imports_at_once_are_bounded(
    shop: Server, locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    """Each is on disk until it is its turn."""
    [files] = [
        route.handler.__self__._bodies._places  # type: ignore[attr-defined]
        for _, route in shop.kernel.table.declared()
        if route.path.endswith("/import")
    ]
    monkeypatch.setattr(files, "per_key", 20)
    user, answers = holding(shop, "deals.create"), list[httpx.Response]()
    first, second = send(user, answers), send(user, answers)
    eventually(lambda: files._active == 2 * len(b"title\nx\n"))
    third = user.post(f"{DEALS}/import", content=b"title\nx\n", headers=CSV)
    assert refused(third, 503) == "too many files of this user wait to be imported"
    locked()
    first.join(30)
    second.join(30)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert files._active == 0


# --- time


def test_an_import_that_takes_too_long_writes_nothing(
    shop: Server, locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 0.3)
    answer = shop.admin.post(f"{DEALS}/import", content=b"title\nx\n", headers=CSV)
    assert refused(answer) == (
        "the import took more than 0.3 seconds, and nothing was written: send fewer rows at a time"
    )
    locked()
    assert query(shop.admin, DEALS)["total"] == 0
    eventually(lambda: places(shop)._active == 0)


class Leaving:
    """A client that sends an import and can leave before it is answered."""

    def __init__(self, server: Server, body: bytes) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        headers = {"authorization": server.admin.headers["authorization"], **CSV}
        self._connection.request("POST", f"{DEALS}/import", body, headers)

    def leave(self) -> None:
        self._connection.close()


def test_an_import_ends_when_its_client_has_left(shop: Server, locked: Callable[[], None]):
    client = Leaving(shop, b"title\nx\n")
    eventually(lambda: places(shop)._active == 1)
    client.leave()
    eventually(lambda: places(shop)._active == 0)  # the lock is still held
    locked()
    assert query(shop.admin, DEALS)["total"] == 0


def test_an_import_that_waits_ends_when_its_client_has_left(
    shop: Server, users: list[Client], locked: Callable[[], None]
):
    begun = under_way(shop, users[:4])
    client = Leaving(shop, b"title\nx\n")
    eventually(lambda: places(shop)._waiting)
    client.leave()
    eventually(lambda: not places(shop)._waiting)
    locked()
    for thread, _ in begun:
        thread.join(30)


def test_a_thread_ends_with_its_chunk_when_the_client_has_left(
    shop: Server, monkeypatch: pytest.MonkeyPatch
):
    empty_people(shop)
    read, began, go = list[int](), threading.Event(), threading.Event()
    chunk = RowReader.chunk

    def slowly(self: RowReader) -> Any:
        read.append(1)
        if len(read) == 2:
            began.set()
            assert go.wait(30)
        return chunk(self)

    monkeypatch.setattr(RowReader, "chunk", slowly)
    client = Leaving(shop, b"title\n" + b"x\n" * (5 * CHUNK_ROWS))
    assert began.wait(30)
    client.leave()
    time.sleep(0.2)  # the server notices
    go.set()
    eventually(lambda: places(shop)._active == 0)
    assert len(read) == 2
    assert query(shop.admin, DEALS)["total"] == 0


def test_an_import_of_a_client_that_stays_is_written(shop: Server):
    empty_people(shop)
    body = b"title\n" + b"x\n" * (2 * CHUNK_ROWS)
    answer = shop.admin.post(f"{DEALS}/import", content=body, headers=CSV)
    assert answer.json()["created"] == 2 * CHUNK_ROWS
