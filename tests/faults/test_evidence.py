"""Servers and PostgreSQL are killed while the trail is sealed: its seals stay true."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.faults.support import Load, Site, User, no_traceback, pause
from tests.faults.test_kill import kill, noticed, postmaster
from tests.kernel.processes import Served
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PLUGIN = '''
"""Seals the trail all the time, where a server does it once a minute."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from caudex import Plugin, ServiceKey, Services, hookimpl


class SealingPlugin(Plugin):
    """Two servers have it side by side: neither asks which one leads."""

    name = "sealing"

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        sealer = services.get(ServiceKey("evidence")).sealer

        async def seal() -> float:
            await sealer.run()
            return 0.02

        self.tasks.every(0.02, seal, "seal")
        yield
'''


def serve(site: Site) -> Served:
    plugin = site.folder / "sealing.py"
    plugin.write_text(PLUGIN)
    return site.serve("--plugin", str(plugin))


def verify(user: User) -> dict[str, Any]:
    """Verify everything over HTTP: the trail of a test is small."""
    reply = user.get("/api/v1/audit/evidence", params={"since": "2000-01-01"})
    assert reply.status_code == 200, reply.text
    return reply.json()


def check(user: User, site: Site) -> None:
    """Everything is sealed, and is as it was sealed."""
    eventually(lambda: verify(user)["pending"] == 0, 30, lambda: json.dumps(verify(user)))
    report = verify(user)
    assert report["ok"], report
    [(rows, seals)] = site.sql(
        "select (select count(*) from caudex_audit.log), (select count(*) from caudex_audit.seals)"
    )
    assert report["rows"] == rows
    assert report["seals"] == seals
    assert seals > 3


def test_killed_servers_leave_a_true_chain(make_site: Callable[..., Site]) -> None:
    site = make_site()
    load: Load | None = None
    with ExitStack() as stack:
        for _ in range(4):
            with serve(site) as one, serve(site) as other:
                if load is None:
                    user = site.user(one)
                    load = stack.enter_context(Load(user, user.install()))
                load.goto(one.url)
                load.more(60)
                pause(0, 0.3)
                kill(one)
                load.goto(other.url)
                load.more(20)
                kill(other)
                load.goto("http://127.0.0.1:1")  # its port may soon be another server's
    assert load is not None
    with serve(site) as server:
        load.check(site.sql)
        check(user.goto(server.url), site)


def test_a_killed_postgresql_leaves_a_true_chain(make_site: Callable[..., Site]) -> None:
    site = make_site("")
    with serve(site) as server:
        user = site.user(server)
        with Load(user, user.install()) as load:
            for _ in range(2):
                load.more(60)
                pause(0, 0.3)
                os.kill(killed := postmaster(site), signal.SIGKILL)
                eventually(lambda: noticed(server, site, killed), 5, "not noticed")
                eventually(lambda: server.get("/health/ready").status_code == 200, 30, server.err)
            load.more(10)
        load.check(site.sql)
        check(user, site)
    no_traceback(server)
