"""Several processes of one machine: their connections and statements while nothing happens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from plugins.pipeline.config import PipelineConfig
from tests.kernel.processes import Served, write_config
from tests.waiting import eventually

GROUPS = "reads", "filters", "writes"
SECONDS = 8.0
CONNECTIONS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name like 'caudex%'"""
TRANSACTIONS = """
select (xact_commit + xact_rollback)::float from pg_stat_database
where datname = current_database()"""


@pytest.mark.parametrize(
    ("processes", "expected"), [(1, (2, 2, 3)), (2, (1, 1, 3)), (4, (1, 1, 3)), (64, (1, 1, 3))]
)
def test_processes_of_a_machine_share_the_connections(processes: int, expected: tuple[int, ...]):
    config = PipelineConfig()
    assert tuple(config.share(group, processes) for group in GROUPS) == expected


def test_no_process_has_more_connections_than_are_configured():
    assert PipelineConfig(writes=1).share("writes", 8) == 1
    assert PipelineConfig(reads=32).share("reads", 5) == 7


def idle(database: str, folder: Path, processes: int) -> tuple[int, float]:
    """Serve, and return the connections and the transactions a second while nothing happens."""
    tree = {"server": {"data_dir": str(folder / "data")}, "database": {"url": database}}
    write_config(folder, tree)
    with (
        psycopg.connect(database, autocommit=True) as own,
        Served("--workers", str(processes), cwd=folder) as served,
    ):

        def ask(query: LiteralString) -> float:
            row = own.execute(query).fetchone()
            assert row is not None
            return row[0]

        eventually(lambda: served.get("/health/ready").status_code == 200, 30)
        eventually(lambda: ask(CONNECTIONS) >= 8 * processes, 30)
        time.sleep(3)  # what a start has left to do
        before, began = ask(TRANSACTIONS), time.monotonic()
        time.sleep(SECONDS)
        return int(ask(CONNECTIONS)), (ask(TRANSACTIONS) - before) / (time.monotonic() - began)


@pytest.mark.slow
def test_idle_processes_need_few_connections_and_statements(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CAUDEX_TEST_STATEMENTS", raising=False)
    alone, once = idle(database, tmp_path, 1)
    together, thrice = idle(database, tmp_path, 3)
    assert alone <= 10, "seven of the driver, the pool's, notifications, app logins"
    assert together <= 3 * 8, "five of the driver, and the same"
    assert once < 7
    assert thrice < 3.3 * once + 1, "no faster than the number of processes"
