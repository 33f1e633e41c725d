"""Several processes of one machine: their connections and statements while nothing happens."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from plugins.pipeline.config import PipelineConfig
from tests.kernel.processes import Served, write_config
from tests.waiting import eventually

GROUPS = "reads", "filters", "writes"
SECONDS = 5.0
WINDOWS = 8
RATE = 7.0
"""Transactions a second of a process that has nothing to do."""
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


def find_idle(database: str, folder: Path, processes: int) -> tuple[int, float]:
    """Serve, and return the connections and the transactions a second while nothing happens.

    The rate is the least of some windows: what a start has left to do takes longer on a busy
    machine, and is done once. A timer that is late sends less, never more.
    """
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

        eventually(lambda: served.get("/health/ready").status_code == 200, 60)
        eventually(lambda: ask(CONNECTIONS) >= 8 * processes, 60)
        rates: list[float] = []
        while len(rates) < WINDOWS and min(rates, default=math.inf) >= RATE * processes:
            before = ask(TRANSACTIONS)
            began = time.monotonic()
            time.sleep(SECONDS)
            rates.append((ask(TRANSACTIONS) - before) / (time.monotonic() - began))
        return int(ask(CONNECTIONS)), min(rates)


@pytest.mark.slow
def test_idle_processes_need_few_connections_and_statements(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CAUDEX_TEST_STATEMENTS", raising=False)
    for processes, connections in ((1, 10), (3, 24)):
        # Seven of the driver, or five where processes share it; the pool's, notifications, logins.
        count, rate = find_idle(database, tmp_path, processes)
        assert count <= connections, processes
        assert rate < RATE * processes, processes
