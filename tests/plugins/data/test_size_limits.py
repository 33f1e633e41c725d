"""Size limits of records: no reply is many times what was sent, or unbounded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Client, Server
from plugins.data.rendering import MAX_RECORD_BYTES
from tests.plugins.data.support import PAPERS, SAMPLES, create, names, refused

LONG = b"1e99"
TOO_MANY = MAX_RECORD_BYTES // 100 + 20_000
BIG = MAX_RECORD_BYTES + 10_000_000


def post(client: Client, path: str, body: bytes, method: str = "POST") -> str:
    """Send JSON that is ready, which must be refused, and return the sentence."""
    kind = {"content-type": "application/json"}
    return refused(client.request(method, path, content=body, headers=kind))


def import_line(client: Client, line: bytes) -> dict[str, Any]:
    """Import JSON lines by their codes, and return the report."""
    answer = client.post(
        f"{SAMPLES}/import", params={"on": "code"}, content=line,
        headers={"content-type": "application/x-ndjson"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return answer.json()


def count(server: Server, entity: str) -> int:
    return server.sql(f"select count(*) from lab.{entity}")[0][0]


@pytest.fixture
def unaudited(lab: Server) -> Iterator[None]:
    """No trigger writes what is changed once more, which takes its time."""
    lab.sql("alter table lab.samples disable trigger user")
    yield
    lab.sql("alter table lab.samples enable trigger user")


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.slow
def test_numbers_that_would_be_written_out_in_full_are_refused(lab: Server, admin: Client):
    """3 MB of them make 66 MB of text, each time that the record is read."""
    numbers = b"[" + b",".join([LONG] * TOO_MANY) + b"]"
    record = create(admin)
    assert "send less" in post(admin, SAMPLES, b'{"name":"n","details":%b}' % numbers)
    changes = b'{"details":{"a":%b}}' % numbers
    assert "send less" in post(admin, f"{SAMPLES}/{record['id']}", changes, "PATCH")
    half = b"[" + b",".join([LONG] * (TOO_MANY // 2 + 1)) + b"]"
    row = b'{"name":"n","details":%b}' % half
    assert "send fewer rows" in post(admin, f"{SAMPLES}/bulk", b"[%b,%b]" % (row, row))
    upserts = f"{SAMPLES}/bulk?on=code"
    keyed_rows = [b'{"name":"n","code":"%d","details":%b}' % (n, half) for n in range(2)]
    assert "send fewer rows" in post(admin, upserts, b"[%b,%b]" % (*keyed_rows,))
    whole = b'{"name":"n","code":"a","details":%b}' % numbers
    assert "send less" in post(admin, upserts, b"[%b]" % whole)
    [error] = import_line(admin, whole)["errors"]
    assert "send less" in error["error"]
    assert count(lab, "samples") == 1


@pytest.mark.slow
def test_numbers_of_a_field_of_their_own_are_not(lab: Server, admin: Client, unaudited: None):
    """PostgreSQL prints a double as it came."""
    record = create(admin, sizes=[1e99] * TOO_MANY)
    assert len(record["sizes"]) == TOO_MANY


# --- records --------------------------------------------------------------------------------


def peak() -> int:
    """Bytes of memory that this process, and the server in it, had at most since `reset`."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextlib.contextmanager
def little_memory(server: Server) -> Generator[None]:
    """The server takes little for what happens meanwhile, and goes on to answer others."""
    over, answers = threading.Event(), list[int]()

    def ask() -> None:
        with Client(base_url=server.url, timeout=20) as client:
            while True:
                answers.append(client.get("/health").status_code)
                if over.wait(0.05):
                    return

    asking = threading.Thread(target=ask)
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = peak()
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join(30)
    assert set(answers) == {200}
    assert peak() - before < 40_000_000


@pytest.fixture
def heavy(lab: Server, admin: Client, unaudited: None) -> str:
    """The id of a record that someone made too large by SQL."""
    record = create(admin, name="heavy")
    lab.sql("update lab.samples set scan = repeat('x', %s)", BIG)
    return record["id"]


@pytest.mark.slow
def test_a_record_that_is_too_large_is_not_read(lab: Server, admin: Client, heavy: str):
    create(admin, name="light")
    after = {"sort": "scan", "limit": 1, "after": heavy}
    with little_memory(lab):
        said = refused(admin.get(f"{SAMPLES}/{heavy}"))
        assert said.startswith(f"record '{heavy}' is over 64 MB as JSON, too much to be read")
        assert "over 64 MB" in refused(admin.get(SAMPLES))
        assert "over 64 MB" in refused(admin.get(SAMPLES, params={"limit": 1, "name": "heavy"}))
        assert "over 16 MB" in refused(admin.get(SAMPLES, params={"limit": 2}))
        assert "over 64 MB" in refused(admin.get(SAMPLES, params=after))
    assert names(admin.get(SAMPLES, params={"limit": 1})) == ["light"]


def test_a_record_that_is_too_large_can_be_made_smaller(lab: Server, admin: Client, heavy: str):
    with little_memory(lab):
        answer = admin.patch(f"{SAMPLES}/{heavy}", json={"scan": "small"})
        if answer.status_code == 400:  # hooks would be reported what it was
            assert "over 64 MB" in refused(answer)
            return
    assert answer.json()["scan"] == "small"
    assert admin.get(f"{SAMPLES}/{heavy}").status_code == 200


@pytest.mark.slow
def test_changes_do_not_add_up_to_a_record_that_is_too_large(
    lab: Server, admin: Client, unaudited: None
):
    record = create(admin)
    lab.sql("update lab.samples set scan = repeat('x', %s)", MAX_RECORD_BYTES - 10_000_000)
    answer = admin.patch(f"{SAMPLES}/{record['id']}", json={"name": "x" * 11_000_000})
    assert refused(answer) == "the record would be over 64 MB as JSON: send less"
    assert lab.sql("select name from lab.samples") == [("x",)]


# --- bulks ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_bulk_does_not_make_many_times_what_was_sent(lab: Server, admin: Client):
    rows = [{"title": f"n{number}"} for number in range(1000)]
    with little_memory(lab):
        answer = admin.post(f"{PAPERS}/bulk", json=rows)
    assert "send fewer rows" in refused(answer)
    assert count(lab, "papers") == 0
    answer = admin.post(f"{PAPERS}/bulk", json=rows[:300])
    assert answer.status_code == 201
    assert [record["title"] for record in answer.json()] == [row["title"] for row in rows[:300]]


@pytest.mark.slow
def test_one_row_does_not_write_the_defaults_of_all_others(lab: Server, admin: Client):
    rows = [{"title": f"n{number}"} for number in range(1000)]
    rows[500] |= {"front": "", "back": ""}
    with little_memory(lab):
        answer = admin.post(f"{PAPERS}/bulk", json=rows)
    assert "send fewer rows" in refused(answer)
    assert count(lab, "papers") == 0
    made = admin.post(f"{PAPERS}/bulk", json=rows[400:600]).json()
    assert [record["front"] for record in made] == ["x" * 60_000] * 100 + [""] + ["x" * 60_000] * 99
    rows = [{"title": "n", "front": "", "back": ""} for _ in range(1000)]
    del rows[7]["back"]
    assert admin.post(f"{PAPERS}/bulk", json=rows).status_code == 201
