"""Months come and go; rows find their place."""

from datetime import UTC, date, datetime

import pytest

from kernel.errors import BootError
from kernel.public import POOL
from kernel.testing import Server
from plugins.audit.service import Maintenance
from tests.plugins.audit.conftest import Alone, install
from tests.waiting import eventually


def month(offset: int) -> date:
    """The first day of the month that is `offset` months from this one."""
    today = datetime.now(UTC).date()
    count = today.year * 12 + today.month - 1 + offset
    return date(count // 12, count % 12 + 1, 1)


def partitions(server: Server) -> list[str]:
    rows = server.sql(
        "select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid"
        " where i.inhparent = 'caudex_audit.log'::regclass order by 1"
    )
    return [name for (name,) in rows]


def names(*offsets: int) -> list[str]:
    return [*(f"log_{month(offset):%Y_%m}" for offset in offsets), "log_default"]


def keep(server: Server, months: int) -> None:
    server.run(Maintenance(server.services.get(POOL), months).maintain)


def make_old(server: Server, offset: int) -> None:
    """A partition as a server made it long ago, with a row in it."""
    first, following = month(offset), month(offset + 1)
    server.sql(
        f"create table caudex_audit.log_{first:%Y_%m} partition of caudex_audit.log"
        f" for values from ('{first}+00') to ('{following}+00')"
    )
    server.sql(
        f"create trigger refuse before update or delete or truncate"
        f" on caudex_audit.log_{first:%Y_%m}"
        " for each statement execute function caudex_audit.refuse()"
    )
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        f" values ('old', 'old', 'INSERT', '{first} 12:00+00')"
    )


def test_this_month_and_the_next_two_have_a_partition(make_alone: Alone) -> None:
    assert partitions(make_alone()) == names(0, 1, 2)


def test_rows_go_to_their_month(trail: Server) -> None:
    trail.sql("insert into crm.contacts (name) values ('now')")
    [(place,)] = trail.sql(
        "select tableoid::regclass::text from caudex_audit.log order by id desc limit 1"
    )
    assert place == f"caudex_audit.log_{month(0):%Y_%m}"


def test_a_row_without_a_month_is_taken(trail: Server) -> None:
    trail.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        " values ('far', 'away', 'INSERT', '2001-01-01')"
    )
    assert trail.sql("select count(*) from caudex_audit.log_default where table_schema = 'far'")


def test_two_servers_on_one_database_make_each_month_once(make_alone: Alone) -> None:
    first = make_alone()
    second = make_alone(first.dsn)
    assert partitions(second) == names(0, 1, 2)


def test_everything_is_kept_without_a_limit(make_alone: Alone) -> None:
    server = make_alone()
    make_old(server, -30)
    keep(server, 0)
    assert partitions(server) == names(-30, 0, 1, 2)


def test_months_that_are_kept_no_longer_are_dropped_with_their_rows(make_alone: Alone) -> None:
    server = make_alone()
    for offset in (-4, -3, -2, -1):
        make_old(server, offset)
    keep(server, 2)
    assert partitions(server) == names(-2, -1, 0, 1, 2)
    assert server.sql("select count(*) from caudex_audit.log where table_schema = 'old'") == [(2,)]


def test_retention_comes_from_the_configuration(make_alone: Alone) -> None:
    first = make_alone()
    make_old(first, -3)
    second = make_alone(first.dsn, keep_months=1, seal=False)
    assert partitions(second) == names(0, 1, 2)


@pytest.mark.parametrize("value", [-1, 1.5, "for ever", 1201])
def test_a_retention_that_makes_no_sense_stops_the_boot(make_alone: Alone, value: object) -> None:
    with pytest.raises(BootError, match=r"\[plugins\.audit\].*keep_months"):
        make_alone(keep_months=value)


def test_a_month_whose_rows_came_before_its_partition_goes_without(make_alone: Alone) -> None:
    server = make_alone()
    server.sql(f"drop table caudex_audit.log_{month(1):%Y_%m}")
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        f" values ('early', 'bird', 'INSERT', '{month(1)} 12:00+00')"
    )
    keep(server, 0)
    assert partitions(server) == names(0, 2)
    server.sql("insert into caudex_audit.log (table_schema, table_name, operation)"
               " values ('still', 'works', 'INSERT')")  # fmt: skip


def test_partitions_that_cannot_be_made_stop_no_start_and_are_made_later(
    make_alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_alone()
    first.sql(f"drop table caudex_audit.log_{month(2):%Y_%m}")
    attempts = list[int]()
    maintain = Maintenance.maintain

    async def fail_first(maintenance: Maintenance) -> None:
        attempts.append(1)
        if len(attempts) <= 2:
            raise RuntimeError("a table is locked")
        await maintain(maintenance)

    monkeypatch.setattr(Maintenance, "maintain", fail_first)
    second = make_alone(first.dsn)
    eventually(lambda: partitions(second) == names(0, 1, 2), 20)
    assert second.http.get("/api/v1/audit").status_code == 401


def test_a_table_that_was_made_while_the_plugin_was_off_is_watched_from_the_next_start(
    make_alone: Alone,
) -> None:
    server = make_alone()
    install(server, "crm", "contacts")
    server.sql("drop trigger caudex_audit on crm.contacts")
    install(server, "crm", "contacts", make=False)
    server.sql("insert into crm.contacts (name) values ('seen')")
    assert server.sql("select count(*) from caudex_audit.log where table_schema = 'crm'") == [(1,)]
