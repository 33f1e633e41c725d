"""Where changes are lost, a reader learns why, and goes on from now."""

from typing import Any

import msgspec
import pytest

from kernel.public import CHANGES, App, ChangesPage, Entity, Field, InstallPlan
from kernel.testing import Server
from plugins.audit.changes.positions import hash_name, read_position, write_position
from tests.plugins.audit.conftest import Alone, announce, install

SUBJECTS = ["losses.things"]


@pytest.fixture(scope="module")
def things(trail: Server) -> Server:
    install(trail, "losses", "things")
    return trail


def now(server: Server) -> str:
    return server.run(server.services.get(CHANGES).now)


def read(server: Server, position: str, subjects: list[str] = SUBJECTS) -> ChangesPage:
    return server.run(server.services.get(CHANGES).read, position, subjects)


def write(server: Server) -> None:
    server.sql("insert into losses.things (name) values ('x')")


def changed(position: str, **members: Any) -> str:
    return write_position(msgspec.structs.replace(read_position(position), **members))


def assert_goes_on(server: Server, page: ChangesPage) -> None:
    """Nothing is between the position of a loss and now."""
    assert page.changes == ()
    write(server)
    assert len(read(server, page.position).changes) == 1


def test_a_position_of_another_cluster(things: Server) -> None:
    position = changed(now(things), server=hash_name("4711"))
    page = read(things, position)
    assert page.lost == "another server"
    assert_goes_on(things, page)


def test_a_position_of_another_timeline_or_copy(things: Server) -> None:
    position = changed(now(things), branch=hash_name("4711"))
    page = read(things, position)
    assert page.lost == "restored"
    assert_goes_on(things, page)


def test_a_position_ahead_of_the_trail(things: Server) -> None:
    begin = read_position(now(things)).begin
    ahead = msgspec.structs.replace(begin, last_id=begin.last_id + 1000)
    page = read(things, changed(now(things), begin=ahead))
    assert page.lost == "restored"
    assert_goes_on(things, page)


def test_numbers_ahead_are_no_loss_after_a_crash_that_lost_nothing(things: Server) -> None:
    """PostgreSQL gives numbers again that it has not written down before a crash."""
    begin = read_position(now(things)).begin
    ahead = msgspec.structs.replace(begin, xmax=begin.xmax + 1000)
    position = changed(now(things), begin=ahead)
    write(things)
    page = read(things, position)
    assert page.lost is None
    assert len(page.changes) == 1


def test_an_install_that_changes_fields(things: Server) -> None:
    position = now(things)
    plan = _plan("losses", ["things"], Field(name="size", type="number", sql_type="float8"))
    announce(things, plan)
    page = read(things, position)
    assert page.lost == "entity changed"
    assert_goes_on(things, page)

    position = now(things)
    announce(things, plan)  # the same once more
    assert read(things, position).lost is None


def test_of_another_entity_it_is_no_loss(things: Server) -> None:
    things.sql("create table losses.others (like losses.things including all)")
    announce(things, _plan("losses", ["things", "others"]))
    position = now(things)
    field = Field(name="size", type="number", sql_type="float8")
    announce(things, _plan("losses", ["things"], field))
    assert read(things, position, ["losses.others"]).lost is None


def test_history_begins_at_the_apps_own_install(things: Server) -> None:
    position = now(things)
    install(things, "second", "things")
    things.sql("insert into second.things (name) values ('of the former app')")
    assert read(things, position, ["second.things"]).lost == "too old"
    position = now(things)
    things.sql("drop schema second cascade")
    install(things, "second", "things")
    assert read(things, position, ["second.things"]).lost == "too old"
    assert read(things, now(things), ["second.things"]).lost is None


def test_a_table_that_was_emptied_at_once(things: Server) -> None:
    write(things)
    position = now(things)
    things.sql("truncate losses.things")
    assert read(things, position).lost == "trail was off"


def test_a_time_without_the_trail(things: Server) -> None:
    position = now(things)
    things.sql("select caudex_audit.switched(false, now())")
    write(things)
    things.sql("select caudex_audit.switched(true, now())")
    page = read(things, position)
    assert page.lost == "trail was off"
    assert_goes_on(things, page)


def test_a_clock_that_jumps_is_no_loss_and_changes_no_order(things: Server) -> None:
    position = now(things)
    moments = ["2030-01-01", "2020-01-01", "2031-01-01", "2020-01-01"]
    for number, moment in enumerate(moments):
        things.sql(
            "insert into caudex_audit.log"
            " (table_schema, table_name, record_id, operation, new_record, changed_at)"
            " values ('losses', 'things', %s, 'INSERT', json_build_object('name', %s::text), %s)",
            f"r{number}", str(number), moment,
        )  # fmt: skip
    changes = things.services.get(CHANGES)
    names: list[str] = []
    times: list[str] = []
    for _ in moments:
        page = things.run(changes.read, position, SUBJECTS, 1)
        [change] = page.changes
        names.append(msgspec.json.decode(change.new or b"")["name"])
        times.append(change.at[:10])
        position = change.position
    assert names == ["0", "1", "2", "3"]
    assert times == moments
    assert read(things, position).changes == ()


def test_a_month_that_was_dropped(make_alone: Alone) -> None:
    first = make_alone()
    install(first, "losses", "things")
    old = now(first)
    first.sql(
        "create table caudex_audit.log_2020_01 (like caudex_audit.log including defaults);"
        "alter table caudex_audit.log attach partition caudex_audit.log_2020_01"
        " for values from ('2020-01-01') to ('2020-02-01');"
        "insert into caudex_audit.log"
        " (table_schema, table_name, record_id, operation, new_record, changed_at)"
        " values ('losses', 'things', 'x', 'INSERT', '{}', '2020-01-05')"
    )
    first.sql("delete from caudex_audit.marks")
    later = now(first)
    first.stop()
    second = make_alone(first.dsn, keep_months=1, seal=False)
    assert read(second, old).lost == "too old"
    assert read(second, later).lost is None


def _plan(app_id: str, entities: list[str], *fields: Field) -> InstallPlan:
    return InstallPlan(
        app=App(
            id=app_id, name=app_id, version="1", version_stamp=1,
            entities={
                name: Entity(
                    app_id=app_id, name=name, id_type="uuid", id_declared=False, fields=fields
                )
                for name in entities
            },
        ),
        manifest={}, first=False,
    )  # fmt: skip
