"""The JSON that is hashed is the same whatever PostgreSQL and its settings."""

from __future__ import annotations

from hashlib import sha256

import psycopg
import pytest

from kernel.testing import Client, Server
from plugins.audit.evidence import store
from plugins.audit.evidence.proofs.files import read_row
from tests.plugins.audit.conftest import Alone
from tests.plugins.audit.evidence.support import prepare, write
from tests.plugins.audit.stand_in import ROOT

ROW = {
    "id": 70_000_000_001,
    "table_schema": "crm",
    "table_name": 'strange "table"',
    "record_id": "a\\b\n\u00e9\u4e2d\U0001f600",
    "operation": "UPDATE",
    "old_record": '{"b": 1.50, "a": [1e3, true, null], "text": "tab\\t \\u0001 \\u2028"}',
    "new_record": '{"n": 123456789012345678901234567890.000100, "empty": {}, "": ""}',
    "changed_at": "2026-02-28 23:59:59.120+00",
    "actor_id": "00000000-0000-4000-8000-000000000009",
    "request_id": "r-1",
    "key_id": None,
    "via": "mcp an agent",
    "xid": "18446744073709551615",
    "app_key": -1,
    "owner_id": "00000000-0000-4000-8000-000000000008",
    "former_owner_id": "00000000-0000-4000-8000-000000000007",
    "follows": True,
}
CANONICAL = "".join([
    r'[70000000001, "crm", "strange \"table\"", "a\\b\né中😀", "UPDATE", ',
    r'{"a": [1000, true, null], "b": 1.50, "text": "tab\t \u0001 LINE"}, ',
    r'{"": "", "n": 123456789012345678901234567890.000100, "empty": {}}, ',
    r'"2026-02-28T23:59:59.12", "00000000-0000-4000-8000-000000000009", "r-1", null, ',
    r'"mcp an agent", "18446744073709551615", -1, "00000000-0000-4000-8000-000000000008", ',
    r'"00000000-0000-4000-8000-000000000007", true]',
]).replace("LINE", "\u2028")  # fmt: skip
"""As PostgreSQL 15 and 18 write it: a change of this text breaks every seal that was made."""
SETTINGS = (
    "set timezone = 'Asia/Kathmandu'", "set datestyle = 'SQL, DMY'",
    "set intervalstyle = 'iso_8601'", "set extra_float_digits = -15",
    "set bytea_output = 'escape'", "set client_encoding = 'LATIN1'", "set search_path = pg_temp",
    "set jit = off", "set enable_indexscan = off",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(trail: Server) -> Server:
    names = ", ".join(ROW)
    places = ", ".join(["%s"] * len(ROW))
    trail.sql(f"insert into caudex_audit.log ({names}) values ({places})", *ROW.values())
    return trail


def read_entries(server: Server, after: int, *settings: str) -> bytes:
    """The entries of the next rows, as a session with settings makes them."""
    query = store.ENTRIES.replace("$1::bigint", str(after)).replace("$2::bigint", f"{after} + 1000")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for setting in settings:
            connection.execute(setting)  # type: ignore[arg-type]
        row = connection.execute(query.replace("$3::int", "10")).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return bytes.fromhex(row[0])


def read_entry(server: Server, *settings: str) -> bytes:
    return read_entries(server, 70_000_000_000, *settings)


def test_the_canonical_form_never_changes(server: Server) -> None:
    assert read_entry(server)[16:] == sha256(b"\0" + CANONICAL.encode()).digest()


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_changes_it(server: Server, setting: str) -> None:
    assert read_entry(server, setting) == read_entry(server)


def test_every_column_of_the_trail_is_in_it(server: Server) -> None:
    """A new column needs a new form, which rows have from then on."""
    rows = server.sql(
        "select attname from pg_attribute where attrelid = 'caudex_audit.log'::regclass"
        " and attnum > 0 and not attisdropped"
    )
    assert {name for (name,) in rows} == set(ROW)


def test_a_line_of_an_export_leads_to_it(server: Server) -> None:
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        lines = root.get("/api/v1/audit/export?proofs=true").content.splitlines()
    [row] = [read_row(line) for line in lines if line.startswith(b'{"id":70000000001')]
    assert row.leaf == sha256(b"\0" + CANONICAL.encode()).digest()


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01 00:00:00", "2026-01-01 10:20:30", "2026-01-01 00:00:00.1",
        "1999-12-31 23:59:59.999999", "2026-01-01 00:00:00.000001",
    ],
)  # fmt: skip
def test_times_lead_to_it(make_alone: Alone, time: str) -> None:
    server = prepare(make_alone())
    write(server)
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        f" values ('crm', 'contacts', 'INSERT', '{time}+00')"
    )
    entries = read_entries(server, 0)
    leaves = [entries[end - 32 : end] for end in range(48, len(entries) + 1, 48)]
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        lines = root.get("/api/v1/audit/export?proofs=true").content.splitlines()
    shown = [read_row(line).leaf for line in lines if line.startswith(b'{"id":')]
    assert shown == leaves
