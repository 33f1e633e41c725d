"""The catalog in memory."""

from __future__ import annotations

import json

import anyio
import pytest

from kernel.public import APPS, NOTIFICATIONS, STATEMENTS, App, BadRequest, NotFound, Unavailable
from kernel.testing import FakeNotifications
from plugins.apps.catalog import Catalog
from plugins.notifications import service as news
from tests.waiting import eventually

from .support import entity, field, fresh_id, install, manifest


class Counting:
    """STATEMENTS that count what is asked of them."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.asked = 0
        self.last: object = None
        self.gate: anyio.Event | None = None
        self.began: anyio.Event | None = None

    async def fetch_all(self, query, *params):
        self.asked += 1
        [self.last] = params
        rows = await self.inner.fetch_all(query, *params)
        if self.gate is not None and self.began is not None:
            self.began.set()
            await self.gate.wait()
        return rows


async def _catalog(server) -> tuple[Counting, Catalog, FakeNotifications]:
    counting, notifications = Counting(server.services.get(STATEMENTS)), FakeNotifications()
    return counting, Catalog(counting, notifications), notifications  # type: ignore[arg-type]


def test_warm_reads_do_not_touch_the_database(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("z", field("b"), field("a")), entity("a")))

    async def check():
        counting, catalog, _ = await _catalog(server)
        for _ in range(50):
            found = await catalog.app(app)
            await catalog.entity(app, "z")
            await catalog.all()
            with pytest.raises(NotFound):
                await catalog.entity(app, "nope")
        assert counting.asked == 2
        for unknown in ("nope", "", "A", "a\0"):
            with pytest.raises(NotFound):
                await catalog.app(unknown)
        assert counting.asked == 3  # of what can be the id of an app
        assert list(found.entities) == ["z", "a"]
        assert [f.name for f in found.entities["z"].fields] == ["b", "a"]

    server.run(check)


def test_a_notification_reads_one_app_again_and_a_lost_one_all(server):
    one, other = fresh_id(), fresh_id()
    install(server.admin, manifest(one, entity("a")))

    async def stamp(catalog, app) -> int:
        return (await catalog.app(app)).version_stamp

    async def before():
        counting, catalog, notifications = await _catalog(server)
        return counting, catalog, notifications, await stamp(catalog, one)

    counting, catalog, notifications, first = server.run(before)
    install(server.admin, manifest(one, entity("b")))
    install(server.admin, manifest(other, entity("a")))

    async def after():
        assert await stamp(catalog, one) == first
        assert await catalog.app(other)
        await notifications.notify("apps", one)
        assert await stamp(catalog, one) > first
        assert list((await catalog.app(one)).entities) == ["b"]
        assert await catalog.app(other)
        assert counting.asked == 3
        await notifications.notify("apps", None)
        assert await catalog.app(one)
        assert await catalog.app(other)
        assert counting.asked == 5

    server.run(after)
    server.admin.delete(f"/api/v1/apps/{other}")

    async def removed():
        assert other in {app.id for app in await catalog.all()} | {other}
        await notifications.notify("apps", other)
        with pytest.raises(NotFound):
            await catalog.app(other)
        assert await catalog.app(one)
        assert other not in {app.id for app in await catalog.all()}

    server.run(removed)


def test_every_notification_reads_the_list_of_apps_again(server):
    async def check():
        counting, catalog, notifications = await _catalog(server)
        before = await catalog.all()
        before.clear()  # a copy
        assert isinstance(await catalog.all(), list)
        for payload in ("crm", "\0", "", None):
            asked = counting.asked
            await notifications.notify("apps", payload)
            await catalog.all()
            assert (counting.asked, counting.last) == (asked + 1, None)

    server.run(check)


def test_an_app_that_cannot_be_read_does_not_block_the_others(server):
    app, other = fresh_id(), fresh_id()
    for each in (app, other):
        install(server.admin, manifest(each, entity("a")))

    async def check():
        counting, catalog, _ = await _catalog(server)

        class Choosy:
            async def fetch_all(self, query, *params):
                if params == ([app],):
                    raise BadRequest("not this one")
                return await counting.fetch_all(query, *params)

        catalog._statements = Choosy()
        with pytest.raises(BadRequest):
            await catalog.app(app)
        assert await catalog.app(other)

    server.run(check)


def test_a_forged_notification_refuses_no_caller(server):
    assert server.admin.get("/api/v1/apps").status_code == 200
    heard: list[str | None] = []

    async def hear(payload):
        heard.append(payload)

    server.services.get(NOTIFICATIONS).subscribe("apps", hear)
    rows = server.sql("select revision from caudex_kernel.revisions where topic = 'apps'")
    revision = rows[0][0] + 1 if rows else 1
    forged = {"topic": "apps", "revision": revision, "payload": "\0", "source": "x"}
    server.sql("select pg_notify(name, %s) from caudex_kernel.channel", json.dumps(forged))

    eventually(lambda: heard)
    assert server.admin.get("/api/v1/apps").status_code == 200
    assert heard[0] == "\0"


def test_a_notification_during_a_read_is_not_lost(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("a")))

    async def check():
        counting, catalog, notifications = await _catalog(server)
        counting.gate, counting.began = anyio.Event(), anyio.Event()
        found: list[App] = []

        async def read():
            found.append(await catalog.app(app))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await counting.began.wait()
            await notifications.notify("apps", app)
            counting.gate.set()
        assert found
        assert await catalog.app(app)
        assert counting.asked == 2

    server.run(check)


def test_a_failed_read_is_tried_again(server):
    class Broken:
        async def fetch_all(self, query, *params):
            raise Unavailable("away")

    async def check():
        good, catalog, _ = await _catalog(server)
        catalog._statements = Broken()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await catalog.all()
        catalog._statements = good
        assert isinstance(await catalog.all(), list)

    server.run(check)


def test_other_processes_see_an_install(server, make_server, monkeypatch):
    monkeypatch.setattr(news, "POLL_INTERVAL", 60.0)  # no poll: only what is reported counts
    other = make_server(dsn=server.dsn, data_dir=server.kernel.config.data_dir)
    app = fresh_id()

    async def known() -> bool:
        for _ in range(400):
            try:
                await other.services.get(APPS).app(app)
            except NotFound:
                await anyio.sleep(0.04)
            else:
                return True
        return False

    install(server.admin, manifest(app, entity("a")))
    assert other.run(known)
