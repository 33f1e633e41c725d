"""What is sealed, when, and by whom."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import psycopg
import pytest
from nacl.signing import VerifyKey

from kernel.public import POOL
from kernel.testing import MakeServer, Server
from plugins.audit.evidence import steps
from plugins.audit.evidence.findings import BEHIND
from plugins.audit.evidence.horizon import Horizon
from plugins.audit.evidence.steps import Pace
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
from tests.waiting import eventually


@pytest.fixture
def server(make_alone: Alone) -> Server:
    return prepare(make_alone())


def test_a_seal_vouches_for_the_rows_since_the_last_one(server: Server) -> None:
    before = len(seals(server))
    ids = write(server, 3)
    seal(server)
    [*_, last] = seals(server)
    assert len(seals(server)) == before + 1
    assert (last.rows, last.last) == (3, ids[-1])
    assert last.after < ids[0]


def test_where_nothing_was_written_nothing_is_sealed(server: Server) -> None:
    before = seals(server)
    seal(server)
    assert seals(server) == before


def test_each_seal_is_signed_and_names_the_one_before(server: Server) -> None:
    for _ in range(3):
        write(server)
        seal(server)
    rows = server.sql("select statement, signature from caudex_audit.seals order by number")
    previous = ""
    for number, (statement, signature) in enumerate(rows, 1):
        made = seals(server)[number - 1]
        VerifyKey(bytes.fromhex(made.key)).verify(statement.encode(), bytes(signature))
        assert (made.seal, made.previous) == (number, previous)
        previous = hashlib.sha256(statement.encode()).hexdigest()


def test_many_rows_are_sealed_in_parts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "note", lambda self, seconds: setattr(self, "amount", 70))
    before = len(seals(server))
    write(server, 1500)
    seal(server)
    parts = seals(server)[before:]
    assert sum(part.rows for part in parts) == 1500
    assert max(part.rows for part in parts) <= 1000
    assert len(parts) == 9
    assert verify(server).ok


def test_what_commits_late_is_not_overtaken(server: Server) -> None:
    sealer = evidence_of(server).sealer
    assert sealer is not None
    before = seals(server)[-1:]
    with psycopg.connect(server.dsn) as late:
        late.execute("insert into crm.contacts (name) values ('late')")
        write(server)
        server.run(sealer.run)
        assert seals(server)[-1:] == before
        assert verify(server).pending == 1
    seal(server)
    assert seals(server)[-1].rows == 2
    assert verify(server).ok


def test_who_only_reads_or_writes_elsewhere_holds_up_nothing(server: Server) -> None:
    server.sql("create table public.elsewhere (n int)")
    with psycopg.connect(server.dsn) as other:
        other.execute("insert into public.elsewhere values (1)")
        other.execute("select count(*) from caudex_audit.log")
        write(server)
        seal(server)
        assert verify(server).pending == 0


def test_those_who_begin_later_do_not_hold_up_a_horizon(server: Server) -> None:
    horizon = Horizon(server.services.get(POOL))
    with psycopg.connect(server.dsn) as first, psycopg.connect(server.dsn) as second:
        first.execute("insert into crm.contacts (name) values ('first')")
        [(last_id,)] = server.sql("select last_value from caudex_audit.log_id")
        assert server.run(horizon.find) is None
        second.execute("insert into crm.contacts (name) values ('second')")
        first.commit()
        assert server.run(horizon.find) == last_id
        assert server.run(horizon.find) is None


def test_ids_that_were_given_back_are_no_gap(server: Server) -> None:
    with psycopg.connect(server.dsn) as undone:
        undone.execute("insert into crm.contacts (name) values ('undone')")
        undone.rollback()
    write(server)
    with psycopg.connect(server.dsn) as undone:
        undone.execute("insert into crm.contacts (name) values ('undone')")
        undone.rollback()
    seal(server)
    report = verify(server)
    assert (report.ok, report.pending) == (True, 0)


def test_two_servers_seal_side_by_side(make_alone: Alone, tmp_path: Path) -> None:
    first = prepare(make_alone(signing_key="11" * 32))
    second = make_alone(first.dsn, signing_key="11" * 32)
    for _ in range(5):
        write(first, 20)
        threads = [threading.Thread(target=seal, args=(each,)) for each in (first, second)]
        for thread in threads:
            thread.start()
        write(second, 20)
        for thread in threads:
            thread.join()
    seal(second)
    report = verify(first)
    assert report.ok
    assert report.rows == sum(made.rows for made in seals(first))
    [(rows,)] = first.sql("select count(*) from caudex_audit.log")
    assert report.rows == rows


def test_without_the_key_of_the_database_a_server_serves_and_does_not_seal(
    make_alone: Alone,
) -> None:
    first = prepare(make_alone(signing_key="11" * 32))
    second = make_alone(first.dsn, signing_key="22" * 32)
    assert evidence_of(second).sealer is None
    health = next(plugin for plugin in second.kernel.instances if plugin.name == "audit").health
    [problem] = second.run(health).problems
    assert "key is missing" in problem
    assert "audit" not in second.http.get("/health").text


def test_health_says_that_the_sealing_is_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that wrote to the trail and stays open holds it up."""
    monkeypatch.setattr("plugins.audit.evidence.sealer.BEHIND_SECONDS", 0.2)
    sealer = evidence_of(server).sealer
    assert sealer is not None
    audit = next(plugin for plugin in server.kernel.instances if plugin.name == "audit")

    async def look() -> tuple[str, ...]:
        await sealer.run()
        return (await audit.health()).problems

    write(server)
    eventually(lambda: server.run(look) == ())
    with psycopg.connect(server.dsn) as late:
        late.execute("insert into crm.contacts (name) values ('late')")
        write(server)
        eventually(lambda: server.run(look) == (BEHIND,))
    eventually(lambda: server.run(look) == ())
    assert verify(server).pending == 0


def test_readiness_and_the_status_show_problems_of_the_sealing(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    sealer = evidence_of(server).sealer
    assert sealer is not None
    monkeypatch.setattr(type(sealer), "is_behind", property(lambda _: True))
    ready = server.http.get("/health/ready")
    assert (ready.status_code, ready.json()["problems"]) == (200, [f"audit: {BEHIND}"])
    status = server.admin.get("/api/v1/status").json()
    assert BEHIND in str(status)


def test_it_can_be_switched_off(make_alone: Alone) -> None:
    server = make_alone(seal=False)
    assert evidence_of(server).sealer is None
    health = next(plugin for plugin in server.kernel.instances if plugin.name == "audit").health
    assert server.run(health).problems == ()


def test_a_trail_from_before_the_seals_is_sealed_too(server: Server) -> None:
    write(server, 50)
    tamper(
        server,
        "update caudex_audit.log set xid = '0'",
        "delete from caudex_audit.seals",
        "delete from caudex_audit.seal_entries",
    )
    seal(server)
    assert verify(server).ok


def test_a_clock_that_jumps_breaks_no_chain(server: Server) -> None:
    for moment in ("2020-01-01", "2030-01-01", "2021-01-01"):
        server.sql(
            "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
            f" values ('crm', 'contacts', 'INSERT', '{moment}')"
        )
        seal(server)
    made = seals(server)[-3:]
    assert [each.end for each in made] == [
        "2020-01-01T00:00:00.000000Z", "2030-01-01T00:00:00.000000Z", "2021-01-01T00:00:00.000000Z",
    ]  # fmt: skip
    assert verify(server).ok


def test_a_step_that_takes_long_is_made_smaller(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = list[int]()
    read = steps.store.read_entries

    async def slow_read(reader, after, last, limit):
        limits.append(limit)
        if limit > 20:
            raise steps.Unavailable("a statement took longer than it may")
        return await read(reader, after, last, limit)

    monkeypatch.setattr(steps.store, "read_entries", slow_read)
    write(server, 100)
    seal(server)
    assert limits[0] > 20
    assert seals(server)[-1].rows <= 20
    assert verify(server).ok


def test_a_minute_is_sealed_by_itself(make_alone: Alone) -> None:
    server = make_alone()
    names = [info.name for plugin in server.kernel.instances for info in plugin.tasks.info()]
    assert "seal the trail" in names
