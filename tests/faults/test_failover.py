"""The machine of the primary PostgreSQL is lost, and its standby takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from kernel.testing import Client
from tests.faults.at_work import Jobs, deploy
from tests.faults.replicas import COPY, PROMOTE, RELOAD, SYNCHRONOUS, Pair
from tests.faults.support import Load, Site, User, ask, no_traceback, notes
from tests.kernel.processes import Served
from tests.pages import ROOT
from tests.waiting import eventually

pytestmark = pytest.mark.slow

BACK = 10.0
"""Seconds after the promotion in which all has to work again."""
WORKER = """
import time
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def address(params, ctx):
    return ctx.database_url

@worker.job
def work(payload, ctx):
    print("it begins", payload["name"], flush=True)
    ctx.collection("notes").insert({"name": payload["name"]})
    time.sleep(payload.get("seconds", 0.05))
    return payload["name"]

worker.run()
"""


@contextmanager
def log_lines(user: User, app: str) -> Generator[list[str]]:
    """The lines of an app's log, from one stream that stays open."""
    lines, over = list[str](), threading.Event()

    def read() -> None:
        path = f"{str(user.base_url).rstrip('/')}/api/v1/apps/{app}/logs?tail=0"
        headers = {"authorization": user.headers["authorization"]}
        with Client(timeout=60, headers=headers) as client, client.stream("GET", path) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if over.is_set():
                    return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield lines
        assert thread.is_alive(), "the stream has ended"
    finally:
        over.set()


def ready(*servers: Served) -> bool:
    return all(server.get("/health/ready").status_code == 200 for server in servers)


def direct(user: User, app: str) -> str:
    """Whether the database that a worker is given is read-only, or why it has none."""
    path = f"/api/v1/apps/{app}/rpc"
    answer = user.post(path, json={"method": "address", "params": {}})
    if answer.status_code != 200:
        return answer.text
    try:
        return ask(answer.json(), "show transaction_read_only")[0][0]
    except psycopg.OperationalError as error:
        return str(error)


def test_the_guide_names_the_commands_of_these_tests() -> None:
    guide = (ROOT / "docs" / "howto" / "run-several-servers.md").read_text("utf-8")
    assert all(f"{statement};" in guide for statement in (SYNCHRONOUS, RELOAD, PROMOTE))
    assert " ".join(COPY) in guide


@pytest.mark.parametrize("driver", ["pipeline", "kernel"])
def test_a_synchronous_standby_has_everything_and_all_comes_back(
    folders: Callable[[], Path], driver: str
) -> None:
    with Pair(folders()) as pair:
        site = Site(folders(), pair.dsn, services={"statements": driver})
        with site, site.serve() as one, site.serve() as two:
            user, reader = site.user(one), site.user(two, "reader")
            app = user.install()
            assert (done := deploy(user, app, WORKER)).status_code == 200, done.text
            roles = f"/api/v1/apps/{app}/roles"
            role = {"name": "r", "permissions": ["notes.read"]}
            user.post(roles, json=role).raise_for_status()
            assert reader.get(notes(app)).status_code == 403
            eventually(lambda: direct(user, app) == "off", 20, lambda: direct(user, app))
            jobs = Jobs(site, app)
            other = user.install()
            logs = site.user(two)
            with log_lines(logs, app) as lines, Load(user, other, writers=4, readers=2) as load:
                load.more()
                jobs.put(user, 8, seconds=8, max_attempts=3)
                jobs.begin()
                load.more()
                pair.lose_primary()
                eventually(lambda: not ready(one, two), 10, "the loss was not noticed")
                pair.promote()
                promoted = time.monotonic()

                def left(since: float = promoted) -> float:
                    return max(0.1, since + BACK - time.monotonic())

                eventually(lambda: ready(one, two), left(), one.err)
                load.more(20, left())
                body = {"userId": reader.id, "role": "r"}
                user.post(f"{roles}/assign", json=body).raise_for_status()
                eventually(lambda: reader.get(notes(app)).status_code == 200, left())
                eventually(lambda: direct(user, app) == "off", left(), lambda: direct(user, app))
                [fresh] = jobs.put(user, 1, max_attempts=3)
                eventually(lambda: jobs.rows()[fresh][0] == "completed", left(), jobs.rows)
                name = jobs.names[fresh]
                eventually(lambda: any(f"it begins {name}" in line for line in lines), left())
            jobs.all_end()
            jobs.check()
            load.check(site.sql)
            assert site.listeners == 2
    no_traceback(one, two)


def test_an_asynchronous_standby_lacks_what_it_had_not_received_and_nothing_else(
    folders: Callable[[], Path],
) -> None:
    with Pair(folders(), synchronous=False) as pair:
        site = Site(folders(), pair.dsn)
        with site, site.serve() as server:
            user, reader = site.user(server), site.user(server, "reader")
            app = user.install()
            roles = f"/api/v1/apps/{app}/roles"
            role = {"name": "r", "permissions": ["notes.read"]}
            user.post(roles, json=role).raise_for_status()
            kept = {create(user, app, f"kept {number}") for number in range(10)}
            pair.cut_off()
            lost = {create(user, app, f"lost {number}") for number in range(10)}
            body = {"userId": reader.id, "role": "r"}
            user.post(f"{roles}/assign", json=body).raise_for_status()
            assert reader.get(notes(app)).status_code == 200
            later = user.install()
            pair.lose_primary()
            pair.promote()
            promoted = time.monotonic()
            # No cache keeps what the new primary has never seen.
            eventually(lambda: reader.get(notes(app)).status_code == 403, BACK)
            eventually(lambda: user.get(notes(later)).status_code == 404, BACK)
            assert time.monotonic() - promoted < BACK
            kept.add(create(user, app, "new"))
            # A complete list is not read twice: its connection may be one to the former primary.
            eventually(lambda: user.get(notes(app)).status_code == 200, BACK)
            found = {record["id"] for record in user.get(notes(app)).json()}
            assert found == kept
            assert not found & lost
    no_traceback(server)


def create(user: User, app: str, name: str) -> str:
    """Create a record and return its id."""
    answer = user.post(notes(app), json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
