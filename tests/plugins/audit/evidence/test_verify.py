"""What a verification says of a trail that was changed."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.testing import Client, Server
from plugins.audit.evidence.seals import Signer
from plugins.audit.evidence.verifier import Problem, Report
from tests.plugins.audit.conftest import Alone
from tests.plugins.audit.evidence.support import (
    ADD,
    COLUMNS,
    prepare,
    seal,
    seals,
    tamper,
    verify,
    write,
)
from tests.plugins.audit.stand_in import ROOT

FORGED = '{"name": "forged"}'
_count = itertools.count(1)


@pytest.fixture
def server(make_alone: Alone) -> Server:
    return prepare(make_alone())


def problem_of(report: Report) -> tuple[str, int]:
    assert not report.ok
    assert report.problem is not None
    return report.problem.kind, report.problem.id


def test_an_unharmed_trail_is_verified_whole(server: Server) -> None:
    write(server, 10)
    seal(server)
    write(server, 2)
    report = verify(server)
    assert report.ok
    assert report.problem is None
    assert report.rows == sum(each.rows for each in seals(server))
    assert report.seals == len(seals(server))
    assert report.pending == 2
    assert report.verified_until == seals(server)[-1].at


@pytest.mark.parametrize("row_id", [0, -1, -(2**63)])
def test_a_row_before_the_first_id_is_named(server: Server, row_id: int) -> None:
    write(server)
    seal(server)
    tamper(
        server,
        f"insert into caudex_audit.log (id, {COLUMNS})"
        f" values ({row_id}, 'crm', 'contacts', 'INSERT', 'x', '{{}}')",
    )
    report = verify(server)
    assert problem_of(report) == ("added", row_id)
    assert report.verified_until is None


def test_a_changed_row_is_named_with_its_time(server: Server) -> None:
    ids = write(server, 10)
    seal(server)
    [(at,)] = server.sql(f"select changed_at from caudex_audit.log where id = {ids[4]}")
    tamper(server, f"update caudex_audit.log set new_record = '{FORGED}' where id = {ids[4]}")
    report = verify(server)
    assert report.problem == Problem(
        kind="changed", id=ids[4], at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    )
    before = seals(server)[-2].at if len(seals(server)) > 1 else None
    assert report.verified_until == before


OTHER = "'00000000-0000-4000-8000-000000000009'"


@pytest.mark.parametrize(
    "change",
    [
        f"actor_id = {OTHER}", f"owner_id = {OTHER}", f"former_owner_id = {OTHER}",
        f"key_id = {OTHER}", "request_id = 'other'", "app_key = 9", "follows = true", "xid = '7'",
        "via = 'mcp x'", "operation = 'DELETE'", "record_id = 'other'", "table_name = 'other'",
        "table_schema = 'other'", "old_record = '{}'",
        "changed_at = changed_at + interval '1 microsecond'",
    ],
)  # fmt: skip
def test_every_column_is_sealed(server: Server, change: str) -> None:
    ids = write(server, 2)
    seal(server)
    tamper(server, f"update caudex_audit.log set {change} where id = {ids[0]}")
    assert problem_of(verify(server)) == ("changed", ids[0])


def test_a_row_that_is_given_another_id_is_gone(server: Server) -> None:
    ids = write(server, 2)
    seal(server)
    tamper(server, f"update caudex_audit.log set id = 1000000 where id = {ids[0]}")
    assert problem_of(verify(server)) == ("removed", ids[0])


def test_a_second_row_with_an_id_is_added(server: Server) -> None:
    ids = write(server, 2)
    seal(server)
    tamper(server, ADD.replace("(table", "(id, table").replace("values (", f"values ({ids[0]}, "))
    assert problem_of(verify(server)) == ("added", ids[0])


def test_a_month_that_was_dropped_by_hand_is_missing(server: Server) -> None:
    server.sql(
        "create table caudex_audit.log_2020_01 partition of caudex_audit.log"
        " for values from ('2020-01-01+00') to ('2020-02-01+00')"
    )
    server.sql(
        ADD.replace("(table", "(changed_at, table").replace("values (", "values ('2020-01-05', ")
    )
    [(row_id,)] = server.sql("select max(id) from caudex_audit.log")
    seal(server)
    server.sql("drop table caudex_audit.log_2020_01")
    report = verify(server)
    assert problem_of(report) == ("removed", row_id)
    assert report.problem is not None
    assert report.problem.at is not None
    assert report.problem.at.startswith("2020-01-05")


def test_a_removed_seal_is_missed_by_its_follower(server: Server) -> None:
    for _ in range(3):
        write(server)
        seal(server)
    last = seals(server)[-1].seal
    tamper(server, f"delete from caudex_audit.seals where number = {last - 1}")
    assert problem_of(verify(server)) == ("seal", last)


def test_a_removed_beginning_is_missed(server: Server) -> None:
    for _ in range(2):
        write(server)
        seal(server)
    tamper(server, "delete from caudex_audit.seals where number = 1")
    assert problem_of(verify(server)) == ("seal", 2)


@pytest.mark.parametrize(
    "change",
    [
        "statement = replace(statement, '\"rows\":', '\"rows\":1')", "statement = '{}'",
        "signature = '\\x00'", "last_id = last_id - 1", "number = number + 100",
    ],
)  # fmt: skip
def test_a_changed_seal_is_named(server: Server, change: str) -> None:
    write(server)
    seal(server)
    [*_, last] = seals(server)
    tamper(server, f"update caudex_audit.seals set {change} where number = {last.seal}")
    kind, number = problem_of(verify(server))
    assert kind == "seal"
    assert number in (last.seal, last.seal + 100)


def test_a_seal_of_another_key_counts_for_nothing(server: Server) -> None:
    write(server)
    seal(server)
    [*_, last] = seals(server)
    signer = Signer(b"\x07" * 32)
    signed = signer.sign(msgspec.structs.replace(last, key=signer.public))
    tamper(
        server,
        f"update caudex_audit.seals set statement = '{signed.statement}',"
        f" signature = decode('{signed.signature}', 'hex') where number = {last.seal}",
    )
    assert problem_of(verify(server)) == ("seal", last.seal)


def test_a_row_that_is_changed_with_its_entries_is_a_false_seal(server: Server) -> None:
    ids = write(server, 5)
    seal(server)
    [*_, last] = seals(server)
    tamper(
        server,
        f"update caudex_audit.log set new_record = '{FORGED}' where id = {ids[2]}",
        f"update caudex_audit.seal_entries set entries = '\\x' where seal = {last.seal}",
    )
    assert problem_of(verify(server)) == ("seal", last.seal)


def test_entries_that_are_lost_hide_no_unharmed_rows(server: Server) -> None:
    write(server, 5)
    seal(server)
    tamper(server, "delete from caudex_audit.seal_entries")
    assert verify(server).ok


def test_only_rows_of_the_time_are_compared(server: Server) -> None:
    ids = write(server, 5)
    seal(server)
    tamper(server, f"delete from caudex_audit.log where id = {ids[0]}")
    later = datetime.now(UTC) + timedelta(seconds=1)
    report = verify(server, since=later)
    assert (report.ok, report.rows) == (True, 0)
    assert problem_of(verify(server, since=later - timedelta(hours=1))) == ("removed", ids[0])


def test_older_rows_between_recent_ones_are_no_problem(server: Server) -> None:
    """A clock that was wrong for a while wrote many of them."""
    write(server, 3)
    seal(server)
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        " select 'crm', 'contacts', 'INSERT', '2020-01-01' from generate_series(1, 3000)"
    )
    seal(server)
    write(server, 4)
    seal(server)
    report = verify(server, since=datetime.now(UTC) - timedelta(hours=1))
    assert (report.ok, report.rows) == (True, 7)


def test_rows_of_a_removed_seal_blame_no_other(server: Server) -> None:
    for count in (3, 3000, 4):
        write(server, count)
        seal(server)
    chain = seals(server)
    large = [each.seal for each in chain if each.rows > 4]
    tamper(
        server, f"delete from caudex_audit.seals where number between {large[0]} and {large[-1]}"
    )
    assert problem_of(verify(server)) == ("seal", large[-1] + 1)


def test_a_verification_that_may_not_take_longer_says_from_where(server: Server) -> None:
    for _ in range(3):
        write(server, 5)
        seal(server)
    report = verify(server, seconds=-1.0)
    assert report.ok
    assert report.verified_from is not None


def test_the_witness_knows_of_seals_that_are_gone(server: Server) -> None:
    write(server)
    seal(server)
    kept = {
        number: {statement_hash}
        for number, statement_hash in server.sql(
            "select number, encode(sha256(convert_to(statement, 'UTF8')), 'hex')"
            " from caudex_audit.seals"
        )
    }
    assert verify(server, witnessed=kept).ok
    last = max(kept)
    tamper(server, f"delete from caudex_audit.seals where number = {last}")
    assert verify(server).ok
    assert problem_of(verify(server, witnessed=kept)) == ("seal", last)
    tamper(server, f"delete from caudex_audit.seal_entries where seal = {last}")
    seal(server)
    assert problem_of(verify(server, witnessed=kept)) == ("seal", last)


Change = tuple[str, int]
CHANGES = st.lists(
    st.tuples(st.sampled_from(["change", "remove", "add"]), st.integers(0, 39)),
    min_size=1, max_size=4, unique_by=lambda change: change[1],
)  # fmt: skip


@pytest.fixture(scope="module")
def shared(trail: Server) -> Server:
    """One server for many changes."""
    seal(trail)
    return trail


@given(CHANGES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_first_of_any_changes_is_named(shared: Server, changes: list[Change]) -> None:
    """Whatever a superuser changes, removes or adds, and wherever: the first row is named."""
    server = shared
    ids = list[int]()
    for _ in range(4):
        # An id between two rows is left free, so that a row can be added there.
        for _ in range(10):
            server.sql("select nextval('caudex_audit.log_id')")
            ids += write(server, 1, f"n{next(_count)}")
        seal(server)
    assert verify(server).ok
    server.sql("create table public.saved as select * from caudex_audit.log")
    statements = list[str]()
    expected = dict[int, str]()
    for kind, place in changes:
        row_id = ids[place]
        if kind == "change":
            statements.append(
                f"update caudex_audit.log set new_record = '{FORGED}' where id = {row_id}"
            )
            expected[row_id] = "changed"
        elif kind == "remove":
            statements.append(f"delete from caudex_audit.log where id = {row_id}")
            expected[row_id] = "removed"
        else:
            statements.append(
                f"insert into caudex_audit.log (id, {COLUMNS})"
                f" select {row_id - 1}, {COLUMNS} from public.saved where id = {row_id}"
            )
            expected[row_id - 1] = "added"
    tamper(server, *statements)
    first = min(expected)
    assert problem_of(verify(server)) == (expected[first], first)
    tamper(
        server,
        "delete from caudex_audit.log",
        "insert into caudex_audit.log select * from public.saved",
        "drop table public.saved",
    )
    assert verify(server).ok


def test_core_admins_ask_over_http(server: Server) -> None:
    write(server, 5)
    seal(server)
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        reply = root.get("/api/v1/audit/evidence")
        assert reply.status_code == 200
        body = reply.json()
        assert set(body) >= {"ok", "verified_until", "rows", "seals", "pending", "key", "problem"}
        assert (body["ok"], body["problem"], body["pending"]) == (True, None, 0)
        assert body["key"] == seals(server)[-1].key
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert root.get("/api/v1/audit/evidence", params={"since": later}).json()["rows"] == 0
        ids = write(server)
        seal(server)
        tamper(server, f"delete from caudex_audit.log where id = {ids[0]}")
        body = root.get("/api/v1/audit/evidence").json()
        assert body["ok"] is False
        assert (body["problem"]["kind"], body["problem"]["id"]) == ("removed", ids[0])


@pytest.mark.parametrize(
    "path",
    [
        "evidence?since=yesterday", "evidence?sinc=2026-01-01", "export?since=x",
        "export?proofs=1", "export?limit=3",
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(root: httpx.Client, path: str) -> None:
    reply = root.get(f"/api/v1/audit/{path}")
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_without_a_key_nothing_is_claimed(make_alone: Alone) -> None:
    first = prepare(make_alone(signing_key="11" * 32))
    second = make_alone(first.dsn, signing_key="22" * 32)
    with Client(base_url=second.url, headers={"x-user": ROOT}) as root:
        reply = root.get("/api/v1/audit/evidence")
    assert reply.status_code == 503
    assert "key of the evidence is missing" in reply.json()["error"]
