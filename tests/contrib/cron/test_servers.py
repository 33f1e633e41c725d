"""One firing for each due time, however many servers look at the same moment."""

from __future__ import annotations

import time

import pytest

from kernel.testing import running_server
from tests.waiting import eventually

from .support import app_with, config

CRONS = 20
ROUNDS = 8


@pytest.fixture(scope="module")
def three(postgres, tmp_path_factory):
    folder, tree = tmp_path_factory.mktemp("three"), config(keep_runs=1000)
    with (
        running_server(postgres, tree, data_dir=folder) as one,
        running_server(postgres, tree, dsn=one.dsn, data_dir=folder) as two,
        running_server(postgres, tree, dsn=one.dsn, data_dir=folder) as three,
    ):
        yield one, two, three


@pytest.mark.slow
def test_each_due_time_fires_once_on_whichever_server(three):
    one, *_ = three
    crons = [{"name": f"c{n}", "overlap": "allow"} for n in range(CRONS)]
    app = app_with(one, *crons)
    for number in range(ROUNDS):
        one.sql(
            "update caudex_cron.crons set next_due = date_trunc('second', now())"
            " - make_interval(secs => %s) where app_id = %s",
            60 - number, app,
        )  # fmt: skip
        eventually(
            lambda: (
                one.sql(
                    "select count(*) from caudex_cron.crons where app_id = %s and next_due < now()",
                    app,
                )
                == [(0,)]
            ),
            20,
        )
    time.sleep(0.5)
    counts = one.sql(
        "select c.name, count(*), count(distinct r.due), count(distinct r.job_id),"
        " bool_and(r.state = 'fired')"
        " from caudex_cron.crons as c join caudex_cron.runs as r on r.cron_id = c.id"
        " where c.app_id = %s group by c.name",
        app,
    )
    assert len(counts) == CRONS
    assert {row[1:] for row in counts} == {(ROUNDS, ROUNDS, ROUNDS, True)}
    [(made,)] = one.sql("select count(*) from caudex_jobs.jobs where app_id = %s", app)
    assert made == CRONS * ROUNDS


def test_a_cron_that_is_installed_on_one_server_fires_when_that_one_is_gone(three):
    one, two, last = three
    app = app_with(one, {"name": "c"})
    one.stop()
    two.stop()
    last.sql("update caudex_cron.crons set next_due = now() where app_id = %s", app)
    fired = (
        "select count(*) from caudex_cron.runs as r join caudex_cron.crons as c on c.id = r.cron_id"
        " where c.app_id = %s and r.state = 'fired'"
    )
    eventually(lambda: last.sql(fired, app) == [(1,)], 20)
