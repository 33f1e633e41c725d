"""Months that retention drops, and their seals."""

from __future__ import annotations

from datetime import date

import pytest

from kernel.public import POOL
from kernel.testing import Server
from plugins.audit.service import LATER, Maintenance
from tests.plugins.audit.conftest import Alone
from tests.plugins.audit.evidence.support import (
    evidence_of,
    prepare,
    seal,
    seals,
    tamper,
    verify,
    write,
)
from tests.plugins.audit.test_partitions import make_old, month, names, partitions


@pytest.fixture
def server(make_alone: Alone) -> Server:
    server = prepare(make_alone())
    for offset in (-4, -3, -2):
        make_old(server, offset)
    return server


def drop(server: Server, keep_months: int) -> float | None:
    """Drop what is older than so many months."""
    sealer = evidence_of(server).sealer
    assert sealer is not None
    maintenance = Maintenance(server.services.get(POOL), keep_months, sealer.announce)
    return server.run(maintenance.maintain)


def start_of(day: date) -> str:
    return f"{day}T00:00:00.000000Z"


def test_what_retention_drops_is_no_tampering(server: Server) -> None:
    seal(server)
    write(server)
    seal(server)
    assert drop(server, 2) is None
    assert partitions(server) == names(-2, 0, 1, 2)
    report = verify(server)
    assert report.ok
    assert report.dropped_before == start_of(month(-2))
    assert report.rows == server.sql("select count(*) from caudex_audit.log")[0][0]
    assert seals(server)[-1].kept_from == start_of(month(-2))
    assert drop(server, 1) is None
    assert verify(server).ok


def test_a_row_after_the_announced_day_is_missed(server: Server) -> None:
    seal(server)
    [(row_id,)] = server.sql(
        f"select id from caudex_audit.log where changed_at >= '{month(-2)}' order by id limit 1"
    )
    drop(server, 2)
    server.sql(f"drop table caudex_audit.log_{month(-2):%Y_%m}")
    report = verify(server)
    assert report.problem is not None
    assert (report.problem.kind, report.problem.id) == ("removed", row_id)


def test_months_wait_until_their_rows_are_sealed(server: Server) -> None:
    assert drop(server, 2) == LATER
    assert partitions(server) == names(-4, -3, -2, 0, 1, 2)
    seal(server)
    assert drop(server, 2) is None
    assert partitions(server) == names(-2, 0, 1, 2)
    assert verify(server).ok


def test_entries_of_dropped_months_are_removed(server: Server) -> None:
    seal(server)
    write(server)
    seal(server)
    count = "select count(*) from caudex_audit.seal_entries"
    assert server.sql(count) == [(2,)]
    drop(server, 1)
    seal(server)
    assert server.sql(count) == [(1,)]
    assert verify(server).ok
    tamper(
        server,
        "insert into caudex_audit.log (id, table_schema, table_name, operation)"
        " values (2, 'crm', 'contacts', 'INSERT')",
    )
    report = verify(server)
    assert report.problem is not None
    assert (report.problem.kind, report.problem.id) == ("added", 2)


def test_a_row_of_a_dropped_month_does_not_come_back(server: Server) -> None:
    seal(server)
    drop(server, 1)
    seal(server)
    tamper(
        server,
        "insert into caudex_audit.log (id, table_schema, table_name, operation, changed_at)"
        f" values (2, 'crm', 'contacts', 'INSERT', '{month(-4)}')",
    )
    report = verify(server)
    assert report.problem is not None
    assert (report.problem.kind, report.problem.id) == ("added", 2)


def test_entries_stay_as_long_as_a_row_of_their_seal(server: Server) -> None:
    seal(server)
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        f" values ('old', 'old', 'INSERT', '{month(-9)}')"
    )
    [(row_id,)] = server.sql("select max(id) from caudex_audit.log")
    seal(server)
    number = seals(server)[-1].seal
    drop(server, 1)
    seal(server)
    assert server.sql("select seal from caudex_audit.seal_entries") == [(number,)]
    assert verify(server).ok
    tamper(server, f"update caudex_audit.log set table_name = 'new' where id = {row_id}")
    report = verify(server)
    assert report.problem is not None
    assert (report.problem.kind, report.problem.id) == ("changed", row_id)


def test_the_announcement_follows_from_the_configuration(make_alone: Alone) -> None:
    first = prepare(make_alone(signing_key="11" * 32))
    make_old(first, -3)
    seal(first)
    second = make_alone(first.dsn, keep_months=1, signing_key="11" * 32)
    assert partitions(second) == names(0, 1, 2)
    assert verify(second).dropped_before == start_of(month(-2))
