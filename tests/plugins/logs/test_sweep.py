"""What is kept of an app's log: bounded in bytes, swept and forgotten in portions that fit."""

import uuid

import pytest

from kernel.public import LOGS
from plugins.logs import store

LINE = 200_000
"""Bytes of a large line."""

FILL = """
with a as (insert into caudex_kernel.apps (app_id) values (%s) on conflict do nothing)
insert into caudex_logs.lines (app_id, level, message, ts)
select %s, 'info', repeat('x', %s), now() - make_interval(days => %s) from generate_series(1, %s)"""

SLOW = """
create function public.slowly() returns trigger language plpgsql as $$
begin
    perform pg_sleep(pg_column_size(old.message) / 5e6);
    return old;
end
$$;
create trigger slowly before delete on caudex_logs.lines
    for each row execute function public.slowly()"""
"""A disk that frees 5 MB in a second."""

BROKEN = """
create function public.broken() returns trigger language plpgsql as $$
begin
    raise exception 'invalid page in block 7';
end
$$;
create trigger broken before delete on caudex_logs.lines
    for each row when (old.app_id = 'broken') execute function public.broken()"""


@pytest.fixture
def make(make_server):
    """Makes a server whose lines take the room on disk that their length says."""

    def make(**logs):
        config = {"plugins": {"logs": logs, "apps": {"statement_timeout": 2.0}}}
        server = make_server({**config, "database": {"statement_timeout": 2.0}})
        server.sql("alter table caudex_logs.lines alter column message set storage external")
        return server

    return make


def fill(server, app_id, count, size=LINE, days=0):
    server.sql(FILL, app_id, app_id, size, days, count)


def left(server, app_id):
    [(count,)] = server.sql("select count(*) from caudex_logs.lines where app_id = %s", app_id)
    return count


def sweep(server, until, most=60):
    """Sweep again and again until something holds."""
    for _ in range(most):
        if until():
            return
        server.run(server.services.get(LOGS).sweep)
    raise AssertionError("the sweeps do not get on")


def test_so_many_bytes_are_kept_and_the_newest_of_them(make):
    server = make(keep_bytes=1_900_000)
    fill(server, "loud", 30)
    fill(server, "quiet", 9)
    fill(server, "small", 1000, size=10)
    sweep(server, lambda: left(server, "loud") < 10)
    [(first, last)] = server.sql("select min(id), max(id) from caudex_logs.lines"
                                 " where app_id = 'loud'")  # fmt: skip
    assert (last - first, left(server, "loud")) == (8, 9)
    assert last == 30
    assert (left(server, "quiet"), left(server, "small")) == (9, 1000)


def test_zero_keeps_however_many_bytes(make):
    server = make(keep_bytes=0)
    fill(server, "loud", 10)
    server.run(server.services.get(LOGS).sweep)
    assert left(server, "loud") == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "logs", [{"keep_days": 1}, {"keep_days": 0, "keep_lines": 1}], ids=["age", "number"]
)
def test_large_lines_that_a_statement_cannot_delete_together_delays_no_other(
    make, monkeypatch, logs
):
    monkeypatch.setattr(store, "PORTION_SIZE", 16_000_000)
    server = make(**logs)
    fill(server, "loud", 100, days=9)
    fill(server, "quiet", 2, size=1, days=8)
    server.sql(SLOW)
    kept = logs.get("keep_lines", 0)
    sweep(server, lambda: left(server, "quiet") == kept)
    sweep(server, lambda: left(server, "loud") == kept)


@pytest.mark.slow
def test_an_app_whose_lines_cannot_be_deleted_holds_up_no_other(make):
    server = make(keep_lines=5)
    for app_id in ("broken", "whole"):
        fill(server, app_id, 20, size=10)
    server.sql(BROKEN)
    sweep(server, lambda: left(server, "whole") == 5)
    assert left(server, "broken") == 20


@pytest.mark.slow
def test_an_app_with_a_large_log_can_be_removed(make, monkeypatch):
    monkeypatch.setattr(store, "PORTION_SIZE", 2_000_000)
    server = make()
    app = f"log{uuid.uuid4().hex[:8]}"
    server.install({"appId": app, "name": "x"})
    fill(server, app, 75)
    server.sql(SLOW)
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    assert left(server, app) == 0
