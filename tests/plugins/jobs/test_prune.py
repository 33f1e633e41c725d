"""Old jobs go in portions that a statement can delete, however large their results are."""

import pytest

from kernel.public import JOBS
from plugins.jobs import maintenance
from plugins.jobs.running import store
from tests.plugins.jobs.support import overrides
from tests.waiting import eventually

RESULT = 200_000
"""Bytes of a large result."""

FILL = """
with app as (select %s::text as id),
known as (
    insert into caudex_kernel.apps (app_id) select id from app on conflict do nothing
)
insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, run_at, status,
    ended_at, payload, result)
select gen_random_uuid(), app.id, false, 0, 1, 900, now(), 'completed',
    now() - make_interval(days => %s), '1', to_json(repeat('r', %s))
from app, generate_series(1, %s)"""

SLOW = """
create function public.slowly() returns trigger language plpgsql as $$
begin
    perform pg_sleep(pg_column_size(old.result) / 5e6);
    return old;
end
$$;
create trigger slowly before delete on caudex_jobs.jobs
    for each row execute function public.slowly()"""
"""A disk that frees 5 MB in a second."""


@pytest.fixture
def make(make_server, monkeypatch):
    """Makes a server whose results take the room on disk that their length says."""

    def make():
        monkeypatch.setattr(store, "BATCH_BYTES", 16_000_000)
        config = overrides()
        config["plugins"]["apps"] = {"statement_timeout": 2.0}
        server = make_server({**config, "database": {"statement_timeout": 2.0}})
        server.sql("alter table caudex_jobs.jobs alter column result set storage external")
        return server

    return make


def left(server, app_id):
    [(count,)] = server.sql("select count(*) from caudex_jobs.jobs where app_id = %s", app_id)
    return count


@pytest.mark.slow
def test_large_jobs_that_a_statement_cannot_delete_together_delays_no_other(make, monkeypatch):
    monkeypatch.setattr(maintenance, "PRUNE_EVERY", 0.1)
    server = make()
    server.sql(SLOW)
    server.sql(FILL, "kept", 13, 1, 3)
    server.sql(FILL, "large", 20, RESULT, 100)
    server.sql(FILL, "small", 19, 1, 1)
    eventually(lambda: left(server, "small") == 0, 60)
    assert (left(server, "large"), left(server, "kept")) == (0, 3)


def test_a_portion_is_bounded_by_the_room_it_takes(make):
    server = make()
    jobs = server.services.get(JOBS)._runs
    server.sql(FILL, "large", 20, RESULT, 100)
    portions = [server.run(jobs.prune, 14, halvings) for halvings in (0, 4, 20, 0, 0)]
    assert portions == [80, 5, 1, 14, 0]


@pytest.mark.slow
def test_an_app_with_large_jobs_can_be_removed(make, monkeypatch):
    server = make()
    monkeypatch.setattr(store, "BATCH_BYTES", 125_000)  # 2 MB in the removal of an app
    server.install({"appId": "large", "name": "x"})
    server.sql(SLOW)
    server.sql(FILL, "large", 0, RESULT, 75)
    server.admin.delete("/api/v1/apps/large").raise_for_status()
    assert left(server, "large") == 0
