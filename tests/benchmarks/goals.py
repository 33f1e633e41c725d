"""The table of costs and goals: processor time of each case, and its speed beside the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .figures import Measured, middle
from .report import Table

OURS = ("caudex (pipeline)", "caudex (pool)")
AGAINST = {
    "pgbench, same statements": "of pgbench",
    "FastAPI + SQLAlchemy": "x FastAPI",
    "PocketBase": "x PocketBase",
    "pgqueuer, batch 100": "x pgqueuer",
}
"""Contenders whose throughput ours is divided by, and their columns."""
HEALTH, CPU = "GET /health", "CPU of /health"
LEAST = {HEALTH: CPU, "the bare hash": "CPU of the hash"}
"""Contenders whose processor time that of a call or a login is divided by, and their columns."""
GOALS: Mapping[tuple[str, str], float] = {
    ("GET by id", "of pgbench"): 0.33,
    ("GET by id", "x FastAPI"): 15,
    ("GET by id", "x PocketBase"): 2.5,
    ("list of 20", "of pgbench"): 0.45,
    ("list of 20", "x FastAPI"): 10,
    ("list of 20", "x PocketBase"): 4,
    ("list of 100", "of pgbench"): 0.65,
    ("filtered list of 20, total", "of pgbench"): 0.45,
    ("create", "of pgbench"): 0.63,
    ("create", "x FastAPI"): 5,
    ("create", "x PocketBase"): 1.5,
    ("update", "of pgbench"): 0.61,
    ("bulk of 1000", "of pgbench"): 1.1,
    ("bulk of 1000", "x FastAPI"): 5,
    ("bulk of 1000", "x PocketBase"): 8,
    ("login", "CPU of the hash"): 1.05,
    ("enqueue", "of pgbench"): 0.78,
    ("jobs: work off a queue", "x pgqueuer"): 0.7,
    ("jobs: work off a queue, JavaScript worker", "x pgqueuer"): 1,
    ("rpc, Python worker", CPU): 2.7,
    ("rpc, JavaScript worker", CPU): 1.9,
}
"""Throughput at least; of CPU at most."""
COLUMNS = (*AGAINST.values(), *LEAST.values())

Rounds = Mapping[str, Sequence[Measured]]


def costs(measured: Mapping[str, Rounds]) -> Table:
    """One line for each case that the pipelined driver, else the pool, was measured with."""
    table = Table("case", "server CPU µs", "PostgreSQL CPU µs", *COLUMNS)
    for case, rounds in measured.items():
        ours = next((rounds[name] for name in OURS if name in rounds), None)
        if ours is not None:
            found = _figures(ours, rounds)
            cells = [_beside(found.get(column), case, column) for column in COLUMNS]
            table.row(case, _micros(ours, "server_cpu"), _micros(ours, "database_cpu"), *cells)
    table.note("Behind a slash the goal; ! where it is missed. `of` and `x` are throughput.")
    return table


def _figures(ours: Sequence[Measured], rounds: Rounds) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, column in AGAINST.items():
        rate, other = middle(ours, "rate"), middle(rounds.get(name, ()), "rate")
        if rate and other:
            found[column] = rate / other
    for name, column in LEAST.items():
        cpu, bare = middle(ours, "server_cpu"), middle(rounds.get(name, ()), "server_cpu")
        if cpu and bare:
            found[column] = cpu / bare
    return found


def _micros(measured: Sequence[Measured], name: str) -> str:
    value = middle(measured, name)
    return "-" if value is None else f"{value * 1e6:,.0f}"


def _beside(value: float | None, case: str, column: str) -> str:
    if value is None:
        return "-"
    goal = GOALS.get((case, column))
    shown = f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    if goal is None:
        return shown
    missed = value > goal if column in LEAST.values() else value < goal
    return f"{shown} / {goal:g}{' !' if missed else ''}"
