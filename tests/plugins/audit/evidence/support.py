"""What the tests of the evidence share."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from kernel.testing import Server
from plugins.audit.evidence.seals import Seal
from plugins.audit.evidence.service import EVIDENCE, Evidence
from plugins.audit.evidence.verifier import Report
from tests.plugins.audit.conftest import install

COLUMNS = "table_schema, table_name, operation, record_id, new_record"
ADD = f"insert into caudex_audit.log ({COLUMNS}) values ('crm', 'contacts', 'INSERT', 'x', '{{}}')"


def evidence_of(server: Server) -> Evidence:
    return server.services.get(EVIDENCE)


def write(server: Server, count: int = 1, name: str = "Ada") -> list[int]:
    """Create records, and return the ids of their rows in the trail."""
    server.sql(f"insert into crm.contacts (name) select '{name}' from generate_series(1, {count})")
    rows = server.sql(f"select id from caudex_audit.log order by id desc limit {count}")
    return sorted(row_id for (row_id,) in rows)


def seal(server: Server) -> None:
    """Seal what is written, as each minute does."""
    sealer = evidence_of(server).sealer
    assert sealer is not None
    server.run(sealer.seal_all)


def verify(server: Server, **options: Any) -> Report:
    return server.run(lambda: evidence_of(server).verifier().verify(**options))


def seals(server: Server) -> list[Seal]:
    rows = server.sql("select statement from caudex_audit.seals order by number")
    return [msgspec.json.decode(statement, type=Seal) for (statement,) in rows]


def tamper(server: Server, *statements: str) -> None:
    """Change the trail as a superuser can who takes its triggers away."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for table in ("log", "seals"):
            connection.execute(f"alter table caudex_audit.{table} disable trigger refuse")
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]
        for table in ("log", "seals"):
            connection.execute(f"alter table caudex_audit.{table} enable always trigger refuse")


def prepare(server: Server) -> Server:
    """Install an app, and seal what there is."""
    install(server, "crm", "contacts")
    seal(server)
    return server
