"""kill -9 of the server or of PostgreSQL loses nothing that was acknowledged."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import httpx
import pytest

from kernel.testing import Client
from tests.faults.support import ROUNDS, Load, Site, in_background, no_traceback, notes, pause
from tests.kernel.processes import Served, alive, descendants
from tests.waiting import eventually

pytestmark = pytest.mark.slow


def kill(server: Served) -> None:
    """End a server in the middle of whatever it does, and see that nothing of it stays."""
    below = descendants(server.process.pid)
    server.process.kill()
    server.process.wait()
    eventually(lambda: not alive(below), 30, lambda: f"left over: {alive(below)}")


@pytest.mark.parametrize("own_database", [False, True])
def test_a_killed_server_has_kept_every_acknowledged_write(
    make_site: Callable[..., Site], own_database: bool
) -> None:
    site = make_site("") if own_database else make_site()
    with ExitStack() as stack:
        load: Load | None = None
        for _ in range((3 if own_database else 6) * ROUNDS):
            with site.serve() as server:
                if load is None:
                    user = site.user(server)
                    load = stack.enter_context(Load(user, user.install()))
                load.goto(server.url)
                load.more(10)
                pause(0, 0.5)
                kill(server)
                load.goto("http://127.0.0.1:1")  # no one's: its port may soon be another server's
    assert load is not None
    with site.serve() as server:
        load.check(site.sql)
        assert server.end()[0] == 0


def test_a_server_that_is_killed_during_an_import_leaves_no_row_of_it(site: Site) -> None:
    rows = 40_000
    content = "name,revision\n" + "".join(f"imported {n},{n}\n" for n in range(rows))
    with site.serve() as server:
        user = site.user(server)
        app_id = user.install()
        before = user.post(notes(app_id), json={"name": "before"})
        assert before.status_code == 201, before.text

        def send(_: threading.Event) -> None:
            headers = {**user.headers, "content-type": "text/csv"}
            with Client(timeout=60, headers=headers) as client, suppress(httpx.TransportError):
                answers.append(client.post(path, content=content))

        answers, path = list[httpx.Response](), f"{server.url}{notes(app_id)}/import"
        with in_background(send):
            eventually(lambda: pages(site, app_id) > 20, 30, "no row was written")
            kill(server)
        assert not answers, answers[0].text
    everything = f"select count(*), min(name) from {app_id}.notes"
    assert site.sql(everything) == [(1, "before")]
    trail = "select count(*) from caudex_audit.log where table_schema = %s and table_name = 'notes'"
    assert site.sql(trail, app_id) == [(1,)]
    with site.serve() as server:
        report = user.goto(server.url).post(
            f"{notes(app_id)}/import", content=content, headers={"content-type": "text/csv"}
        )
        assert report.json()["created"] == rows, report.text
        assert site.sql(everything) == [(1 + rows, "before")]


def pages(site: Site, app_id: str) -> int:
    """How many pages the table has, those of a transaction that is under way included."""
    [(size,)] = site.sql(f"select pg_relation_size('{app_id}.notes')")
    return size // 8192


def test_a_killed_postmaster_comes_back_and_has_kept_everything(
    make_site: Callable[..., Site],
) -> None:
    site = make_site("")
    with site.serve() as server:
        user = site.user(server)
        with Load(user, user.install(), readers=2) as load:
            for _ in range(2 * ROUNDS):
                load.more(10)
                pause(0, 0.3)
                os.kill(killed := postmaster(site), signal.SIGKILL)
                eventually(lambda: noticed(server, site, killed), 5, "not noticed")
                assert server.get("/health").status_code == 200
                eventually(lambda: server.get("/health/ready").status_code == 200, 30, server.err)
            load.more(10)
        load.check(site.sql)
        assert server.end()[0] == 0
    no_traceback(server)


def noticed(server: Served, site: Site, killed: int) -> bool:
    """Whether the server says that PostgreSQL is away, or has restarted it between two looks."""
    return server.get("/health/ready").status_code == 503 or postmaster(site) not in (0, killed)


def postmaster(site: Site) -> int:
    """The process id of the site's PostgreSQL in its lock file; 0 without one."""
    file = site.folder / "data" / "postgres" / "postmaster.pid"
    reported = file.read_text().split() if file.exists() else []
    return int(reported[0]) if reported else 0
