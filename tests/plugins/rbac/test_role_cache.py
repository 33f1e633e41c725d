"""Memory that doubts itself: stale apps, failing reads, waiting readers."""

from collections.abc import Sequence

import anyio
import pytest

from kernel.public import BadRequest, Role, Unavailable
from plugins.rbac.models import AppRow
from plugins.rbac.role_cache import RoleCache, notification

USER = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


class Tables:
    """Stands for the store: what it holds, how often it was read, whether it fails."""

    def __init__(self) -> None:
        self.rows = {"core": row("core"), "crm": row("crm")}
        self.reads: list[str | None] = []
        self.failing = False
        self.broken: set[str | None] = set()
        self.gate = anyio.Event()
        self.gate.set()
        self.slow: dict[str | None, anyio.Event] = {}

    async def apps(self, app_id: str | None = None) -> list[AppRow]:
        found = [r for name, r in self.rows.items() if app_id in (None, name)]
        await self._answer(app_id)
        return found

    async def held(self, app_id: str, user_id: str) -> Sequence[str]:
        await self._answer(notification(app_id, user_id))
        return self.rows[app_id].held.get(user_id, [])

    async def _answer(self, what: str | None) -> None:
        self.reads.append(what)
        await self.gate.wait()
        if what in self.slow:
            await self.slow[what].wait()
        if self.failing:
            raise Unavailable("away")
        if what in self.broken:
            raise BadRequest("not this one")


def row(app_id: str, **held: list[str]) -> AppRow:
    admin = Role(name="admin", permissions=["*"])
    return AppRow(app_id=app_id, entities=[], permissions=[], roles=[admin], held=held)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_warm_roster_reads_nothing():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    await role_cache.load()
    assert tables.reads == [None]


@pytest.mark.anyio
async def test_news_about_an_app_or_a_user_reads_that_alone():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    await role_cache.on_notification(notification("crm", USER))
    assert (await role_cache.load("crm"))["crm"].is_admin(USER)
    tables.rows["hr"] = row("hr")
    await role_cache.on_notification(notification("hr", USER))
    await role_cache.on_notification(notification("crm"))
    assert tables.reads == [None, f"crm {USER}", "hr", "crm"]
    assert set(await role_cache.load()) == {"core", "crm", "hr"}


@pytest.mark.anyio
async def test_an_app_that_is_gone_is_forgotten():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    del tables.rows["crm"]
    await role_cache.on_notification(notification("crm"))
    assert set(await role_cache.load()) == {"core"}


@pytest.mark.anyio
async def test_lost_news_reads_everything():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    await role_cache.on_notification(None)
    assert tables.reads == [None, None]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "forged",
    ["crm x", "\0", "crm \0", f"crm  {USER}", f" {USER}", f"crm {USER} x", "C r m", "a" * 64,
     f"crm\n{USER}", f"crm {USER}\n", f"crm {USER[:-1]}"],
)  # fmt: skip
async def test_news_of_nothing_that_we_tell_are_a_doubt_about_everything(forged: str):
    """Everybody who may connect to the database may NOTIFY, an app's worker too."""
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.broken = {forged}
    await role_cache.on_notification(forged)
    assert set(await role_cache.load()) == {"core", "crm"}
    assert tables.reads == [None, None]


@pytest.mark.anyio
async def test_news_without_end_are_a_doubt_about_everything():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.failing = True
    for number in range(1000):
        await role_cache.on_notification(f"forged{number}")
    tables.failing, tables.reads = False, []
    assert set(await role_cache.load()) == {"core", "crm"}
    assert tables.reads == [None]


@pytest.mark.anyio
async def test_what_cannot_be_read_alone_is_read_with_everything():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.broken = {"crm", None}
    tables.rows["hr"] = row("hr")
    with pytest.raises(BadRequest):
        await role_cache.on_notification("crm")
    tables.broken = {"crm"}
    assert set(await role_cache.load()) == {"core", "crm", "hr"}
    await role_cache.on_notification("crm")
    assert set(await role_cache.load()) == {"core", "crm", "hr"}
    assert tables.reads == [None, "crm", None, None, "crm", None]


@pytest.mark.anyio
async def test_a_failed_read_leaves_nothing_to_decide_from_until_one_succeeds():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.failing = True
    await role_cache.on_notification(notification("crm"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await role_cache.load("crm")
    tables.failing = False
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    assert (await role_cache.load("crm"))["crm"].is_admin(USER)


@pytest.mark.anyio
async def test_who_waited_while_a_read_failed_shares_its_failure():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    tables.failing, tables.gate = True, anyio.Event()
    failures: list[Unavailable] = []

    async def ask() -> None:
        try:
            await role_cache.load()
        except Unavailable as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        tables.gate.set()
    assert len(failures) == 20
    assert tables.reads == [None]


@pytest.mark.anyio
async def test_news_that_comes_during_a_read_is_not_lost():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(role_cache.on_notification, notification("crm"))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(role_cache.on_notification, notification("crm"))
        await anyio.wait_all_tasks_blocked()
        tables.gate.set()
    assert tables.reads == [None, "crm", "crm"]


@pytest.mark.anyio
async def test_a_reader_that_gives_up_leaves_the_roster_in_order():
    tables = Tables()
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    tables.gate = anyio.Event()
    with anyio.move_on_after(0.01):
        await role_cache.load()
    tables.gate.set()
    assert set(await role_cache.load()) == {"core", "crm"}


@pytest.mark.anyio
@pytest.mark.parametrize("news", [notification("crm"), notification("crm", USER)])
async def test_who_asks_about_another_app_does_not_wait_for_one_that_is_read(news: str):
    tables = Tables()
    tables.rows["hr"] = row("hr", **{USER: ["admin"]})
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    tables.slow = {news: anyio.Event()}
    seen: list[bool] = []

    async def ask() -> None:
        seen.append((await role_cache.load("crm"))["crm"].is_admin(USER))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(role_cache.on_notification, news)
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            assert (await role_cache.load("hr"))["hr"].is_admin(USER)
            # Nor does another app's, or core's, own change wait for it.
            tables.rows |= {name: row(name) for name in ("core", "hr")}
            await role_cache.on_notification(notification("hr", USER))
            await role_cache.on_notification(notification("core"))
            assert not (await role_cache.load("hr"))["hr"].is_admin(USER)
        assert seen == []
        tables.slow[news].set()
    assert seen == [True]


@pytest.mark.anyio
async def test_notifications_do_not_wait_behind_a_long_read():
    tables = Tables()
    role_cache = RoleCache(tables, (), eager_timeout=0.01)  # type: ignore[arg-type]
    await role_cache.load()
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    tables.slow = {"crm": anyio.Event()}
    with anyio.fail_after(5):
        await role_cache.on_notification(notification("crm"))
    tables.slow = {}
    assert (await role_cache.load("crm"))["crm"].is_admin(USER)


@pytest.mark.anyio
async def test_an_older_read_does_not_undo_that_of_everything():
    tables = Tables()
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.slow = {"crm": (gate := anyio.Event())}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(role_cache.on_notification, notification("crm"))
        await anyio.wait_all_tasks_blocked()
        tables.rows["crm"] = row("crm")
        await role_cache.on_notification(None)
        assert not (await role_cache.load("crm"))["crm"].is_admin(USER)
        gate.set()
    assert not (await role_cache.load("crm"))["crm"].is_admin(USER)


@pytest.mark.anyio
async def test_what_is_told_while_everything_is_read_is_read_after_it():
    tables = Tables()
    tables.rows["crm"] = row("crm", **{USER: ["admin"]})
    role_cache = RoleCache(tables, ())  # type: ignore[arg-type]
    await role_cache.load()
    tables.slow = {None: anyio.Event()}
    seen: list[bool] = []

    async def ask() -> None:
        seen.append((await role_cache.load("crm"))["crm"].is_admin(USER))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(role_cache.on_notification, None)
        await anyio.wait_all_tasks_blocked()
        tables.rows["crm"] = row("crm")
        tasks.start_soon(role_cache.on_notification, notification("crm"))
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        tables.slow[None].set()
    assert seen == [False]
    assert tables.reads == [None, None, "crm"]
