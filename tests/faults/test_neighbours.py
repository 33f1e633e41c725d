"""What one user does at full force, and what others notice of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
import pytest

from tests.faults.callers import Call, Callers, send
from tests.faults.support import PASSWORD, Site, User, no_traceback, notes

pytestmark = pytest.mark.slow

SLOW = """
create function {0}.take_long() returns trigger language plpgsql
    as 'begin perform pg_sleep(60); return new; end';
create trigger slow before update on {0}.parents for each row when (old.name = 'p1')
    execute function {0}.take_long()"""
FAMILIES = [
    {"entityName": "parents", "fields": [{"name": "name", "type": "text"}]},
    {
        "entityName": "children",
        "fields": [
            {"name": "name", "type": "text"},
            {"name": "age", "type": "number"},
            {"name": "parent", "type": "entity_link", "references": {"entity": "parents"}},
        ],
    },
]
ROWS = """
insert into {0}.parents (name) select 'p' || n from generate_series(1, 1000) n;
insert into {0}.children (name, age, parent)
    select md5(n::text) || repeat(' x', 40), n % 97, p.id
    from generate_series(1, 300) n, {0}.parents p;
analyze {0}.parents, {0}.children"""
CHILDREN = "children_via_parent"
HEAVY = {
    "linked records": ("parents/query", {"expand": [CHILDREN], "limit": 100}),
    "relations": ("parents/query", {"where": {CHILDREN: {"$some": {"name": {"$ilike": "%zz%"}}}}}),
    "aggregates": (
        "children/query",
        {"groupBy": ["age"], "aggregate": {"n": {"$countDistinct": "name"}}},
    ),
    "patterns": ("children/query", {"where": {"name": {"$ilike": "%z%"}}}),
    "sorted": ("children/query", {"orderBy": "name", "limit": 5, "total": False}),
}
TIMES: float = 3
FLOOR = 0.015
"""Seconds below which percentiles of a busy machine are not compared."""
SHARE = 2
"""Connections that one user's slow work holds at most, with the default pool."""


class Figures:
    """What a user gets who reads single records and lists, writes batches, and signs in."""

    def __init__(self, user: User, app: str, record: str, seconds: float) -> None:
        base = f"/api/v1/apps/{app}/collections/parents"
        reads = [Call("GET", f"{base}/{record}"), Call("GET", f"{base}?limit=5")]
        login = Call("POST", "/api/v1/auth/login", {"username": "watched", "password": PASSWORD})
        creates = [{"op": "create", "entity": "parents", "data": {"name": "z"}, "as": "z"}]
        child = {"name": "y", "parent": {"$ref": "z.id"}}
        creates.append({"op": "create", "entity": "children", "data": child})
        batch = Call("POST", f"/api/v1/apps/{app}/batch", {"operations": creates})
        self.reads = Callers(user, reads, 4)
        self.logins = Callers(user, [login], 1)
        self.batches = Callers(user, [batch], 1)
        send(seconds, self.reads, self.logins, self.batches)

    def __str__(self) -> str:
        return "; ".join(
            f"{name} {len(callers.seconds)}: {dict(callers.statuses)}"
            f" {callers.percentile(0.5):.4f} {callers.percentile(0.99):.4f}"
            for name, callers in vars(self).items()
        )


def at_full_force(user: User, calls: Sequence[Call], connections: int, seconds: float) -> None:
    """Send in a process of its own, whose work does not delay what is measured."""
    send(seconds, Callers(user, calls, connections))


@contextmanager
def beside(user: User, calls: Sequence[Call], connections: int = 40) -> Iterator[None]:
    """Let a user send these in the background."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=at_full_force, args=(user, calls, connections, 600))
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def compute() -> None:
    """Take all the time of a processor that there is."""
    while True:
        hash("x")


@contextmanager
def computing() -> Iterator[None]:
    """Let as many processes compute as PostgreSQL has for one user's slow work."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=compute) for _ in range(SHARE)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def check(quiet: Figures, loud: Figures) -> None:
    """Compare what reads took, and require that everything was answered."""
    print(f"quiet: {quiet}\nloud: {loud}")
    for callers in (*vars(quiet).values(), *vars(loud).values()):
        assert {*callers.statuses} == {200}, callers.statuses
    assert loud.reads.percentile(0.99) < TIMES * max(quiet.reads.percentile(0.99), FLOOR)
    assert loud.logins.percentile(0.5) < 1
    assert loud.batches.percentile(0.5) < 1


class Family(NamedTuple):
    """A server with large tables, one user at full force, and one that is watched."""

    site: Site
    hog: User
    watched: User
    app: str
    record: str

    def measure(self, seconds: float) -> Figures:
        """Measure what the second user gets."""
        return Figures(self.watched, self.app, self.record, seconds)


@pytest.fixture
def family(site: Site) -> Iterator[Family]:
    """Start the server and fill the tables."""
    with site.serve() as server:
        hog = site.user(server)
        app = hog.install(entities=FAMILIES)
        site.sql(ROWS.format(app))
        allowed = [
            f"{name}.{action}"
            for name in ("parents", "children")
            for action in ("read", "create", "update")
        ]
        role = {"name": "parent", "permissions": allowed}
        assert hog.post(f"/api/v1/apps/{app}/roles", json=role).status_code == 200
        watched = site.user(server, "watched")
        assigned = {"userId": watched.id, "role": "parent"}
        assert hog.post(f"/api/v1/apps/{app}/roles/assign", json=assigned).status_code == 200
        [(record,)] = site.sql(f"select id::text from {app}.parents limit 1")
        yield Family(site, hog, watched, app, record)
    no_traceback(server)


@pytest.mark.parametrize("kind", [*HEAVY, "all"])
def test_heavy_reads_of_one_user_leave_quick_ones_and_logins_to_others(
    family: Family, kind: str
) -> None:
    """Compared with processes that compute: on two processors those alone triple the times."""
    base = f"/api/v1/apps/{family.app}/collections"
    chosen = HEAVY.values() if kind == "all" else [HEAVY[kind]]
    calls = [Call("POST", f"{base}/{path}", body) for path, body in chosen]
    family.measure(1)
    print(f"alone: {family.measure(4)}")
    with computing():
        quiet = family.measure(5)
    with beside(family.hog, calls):
        family.measure(2)
        loud = family.measure(8)
    check(quiet, loud)


@pytest.mark.parametrize("kind", ["writes", "batches"])
def test_writes_of_one_user_to_a_locked_record_leave_the_rest_to_others(
    family: Family, kind: str
) -> None:
    other = family.hog.install()
    note = family.hog.post(notes(other), json={"name": "x"}).json()["id"]
    change = {"op": "update", "entity": "notes", "id": note, "data": {"name": "y"}}
    calls = {
        "writes": Call("PATCH", f"{notes(other)}/{note}", {"name": "y"}),
        "batches": Call("POST", f"/api/v1/apps/{other}/batch", {"operations": [change]}),
    }
    family.measure(1)
    quiet = family.measure(5)
    with psycopg.connect(family.site.dsn) as holder:
        holder.execute(f"select from {other}.notes for update".encode())
        with beside(family.hog, [calls[kind]], 8):
            family.measure(2)
            loud = family.measure(8)
    check(quiet, loud)


@pytest.mark.parametrize("reason", ["locked", "slow"])
def test_a_write_that_runs_into_a_timeout_holds_up_no_other(family: Family, reason: str) -> None:
    """A group that it is in waits for it once; then it is not sent with others for ten seconds."""
    rows = family.site.sql(f"select id::text, name from {family.app}.parents where name < 'p12'")
    base = f"/api/v1/apps/{family.app}/collections/parents"
    calls = {name: Call("PATCH", f"{base}/{record}", {"name": name}) for record, name in rows}
    stuck = calls.pop("p1")
    others = Callers(family.watched, [*calls.values()], 16)
    with psycopg.connect(family.site.dsn) as holder:
        if reason == "slow":
            family.site.sql(SLOW.format(family.app))
        else:
            query = f"select from {family.app}.parents where name = 'p1' for update"
            holder.execute(query.encode())
        with beside(family.hog, [stuck], 1):
            send(9, others)
    assert {*others.statuses} == {200}
    assert others.percentile(0.99) < 0.2, others.percentile(0.99)
