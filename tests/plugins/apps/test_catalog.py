"""The catalog in memory."""

from __future__ import annotations

import json

import anyio
import anyio.lowlevel
import pytest

from kernel.database import notifications as news
from kernel.public import APPS, NOTIFICATIONS, App, BadRequest, NotFound, Unavailable
from plugins.apps.catalog import Catalog
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


async def _catalog(server) -> tuple[Counting, Catalog]:
    from kernel.public import STATEMENTS

    counting = Counting(server.services.get(STATEMENTS))
    return counting, Catalog(counting)  # type: ignore[arg-type]


def test_warm_reads_do_not_touch_the_database(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("z", field("b"), field("a")), entity("a")))

    async def check():
        counting, catalog = await _catalog(server)
        for _ in range(50):
            found = await catalog.app(app)
            await catalog.entity(app, "z")
            await catalog.all()
            with pytest.raises(NotFound):
                await catalog.app("nope")
            with pytest.raises(NotFound):
                await catalog.entity(app, "nope")
        assert counting.asked == 1
        assert list(found.entities) == ["z", "a"]
        assert [f.name for f in found.entities["z"].fields] == ["b", "a"]

    server.run(check)


def test_news_reads_one_app_anew_and_a_doubt_all(server):
    one, other = fresh_id(), fresh_id()
    install(server.admin, manifest(one, entity("a")))

    async def stamp(catalog, app) -> int:
        return (await catalog.app(app)).version_stamp

    async def before():
        counting, catalog = await _catalog(server)
        return counting, catalog, await stamp(catalog, one)

    counting, catalog, first = server.run(before)
    install(server.admin, manifest(one, entity("b")))
    install(server.admin, manifest(other, entity("a")))

    async def after():
        assert await stamp(catalog, one) == first
        await catalog.on_notification(one)
        assert await stamp(catalog, one) > first
        assert list((await catalog.app(one)).entities) == ["b"]
        with pytest.raises(NotFound):
            await catalog.app(other)
        await catalog.on_notification(None)
        assert await catalog.app(other)
        assert counting.asked == 3

    server.run(after)
    server.admin.delete(f"/api/v1/apps/{other}")

    async def gone():
        await catalog.on_notification(other)
        with pytest.raises(NotFound):
            await catalog.app(other)
        assert await catalog.app(one)

    server.run(gone)


@pytest.mark.parametrize("forged", ["\0", "", "a b", "Crm", "_a", "a-b", "a" * 64, "\ud800"])
def test_news_about_what_is_no_app_are_a_doubt_about_all(server, forged):
    """Everybody who may connect to the database may NOTIFY, an app's worker too."""
    app = fresh_id()
    install(server.admin, manifest(app, entity("a")))

    async def check():
        counting, catalog = await _catalog(server)
        assert await catalog.app(app)
        counting.last = "nothing"
        await catalog.on_notification(forged)
        await catalog.on_notification(app)
        assert await catalog.app(app)
        assert (counting.asked, counting.last) == (2, None)

    server.run(check)


def test_news_about_apps_without_end_are_a_doubt_about_all(server):
    async def check():
        counting, catalog = await _catalog(server)
        await catalog.all()
        for number in range(1000):
            await catalog.on_notification(f"forged{number}")
        assert len(catalog._stale or ()) < 1000
        await catalog.all()
        assert (counting.asked, counting.last) == (2, None)

    server.run(check)


def test_an_app_that_cannot_be_read_alone_is_read_with_all(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("a")))

    async def check():
        counting, catalog = await _catalog(server)
        assert await catalog.app(app)

        class Choosy:
            async def fetch_all(self, query, *params):
                if params != (None,):
                    raise BadRequest("not this one")
                return await counting.fetch_all(query, *params)

        catalog._statements = Choosy()
        await catalog.on_notification(app)
        assert await catalog.app(app)
        assert counting.asked == 2
        catalog._statements = counting
        await catalog.on_notification(app)
        assert await catalog.app(app)
        assert (counting.asked, counting.last) == (3, [app])

    server.run(check)


def test_a_forged_notification_refuses_nobody(server):
    assert server.admin.get("/api/v1/apps").status_code == 200
    heard: list[str | None] = []

    async def hear(payload):
        heard.append(payload)

    server.services.get(NOTIFICATIONS).subscribe("apps", hear)
    rows = server.sql("select revision from caudex_kernel.revisions where topic = 'apps'")
    revision = rows[0][0] + 1 if rows else 1
    forged = {"topic": "apps", "revision": revision, "payload": "\0", "source": "x"}
    server.sql("select pg_notify(name, %s) from caudex_kernel.channel", json.dumps(forged))

    eventually(lambda: heard, 5)
    assert server.admin.get("/api/v1/apps").status_code == 200
    assert heard[0] == "\0"


def test_news_during_a_read_is_not_lost(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("a")))

    async def check():
        counting, catalog = await _catalog(server)
        counting.gate, counting.began = anyio.Event(), anyio.Event()
        found: list[App] = []

        async def read():
            found.append(await catalog.app(app))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await counting.began.wait()
            await catalog.on_notification(app)
            counting.gate.set()
        assert counting.asked == 2
        assert found

    server.run(check)


def test_a_failed_read_is_tried_again(server):
    class Broken:
        async def fetch_all(self, query, *params):
            raise NotFound("away")

    async def check():
        _, good = await _catalog(server)
        catalog = Catalog(Broken())  # type: ignore[arg-type]
        with pytest.raises(NotFound):
            await catalog.all()
        catalog._statements = good._statements
        assert isinstance(await catalog.all(), list)

    server.run(check)


def test_who_waited_while_a_read_failed_shares_its_failure(server):
    class Broken:
        asked = 0

        def __init__(self) -> None:
            self.gate = anyio.Event()

        async def fetch_all(self, query, *params):
            self.asked += 1
            await self.gate.wait()
            raise Unavailable("away")

    async def check():
        broken, failures = Broken(), list[Unavailable]()
        catalog = Catalog(broken)  # type: ignore[arg-type]

        async def ask() -> None:
            try:
                await catalog.all()
            except Unavailable as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
            while catalog._lock.statistics().tasks_waiting < 19:
                await anyio.lowlevel.checkpoint()
            broken.gate.set()
        assert (len(failures), broken.asked) == (20, 1)
        with pytest.raises(Unavailable):
            await catalog.all()
        assert broken.asked == 2
        _, good = await _catalog(server)
        catalog._statements = good._statements
        assert isinstance(await catalog.all(), list)

    server.run(check)


def test_an_install_is_told_to_other_processes(server, make_server, monkeypatch):
    monkeypatch.setattr(news, "POLL", 60.0)  # no poll: only what is told counts
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
