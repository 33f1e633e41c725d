"""kill -9 of the server or of PostgreSQL loses nothing that was acknowledged."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.faults.support import ROUNDS, Load, Site, no_traceback, pause
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
    """The process id of the site's PostgreSQL, as its lock file tells it; 0 without one."""
    file = site.folder / "data" / "postgres" / "postmaster.pid"
    reported = file.read_text().split() if file.exists() else []
    return int(reported[0]) if reported else 0
