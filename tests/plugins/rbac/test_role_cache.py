"""What the role cache keeps, and which notifications remove it."""

from collections import Counter

import pytest

from kernel.public import Grant, NotFound, Role, Unavailable
from kernel.testing import FakeNotifications
from plugins.rbac.decisions import TOPIC, RoleCache, notification
from plugins.rbac.models import AppRow

ADA = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
BOB = "3fa85f64-5717-4562-b3fc-2c963f66afa7"


class Tables:
    """Replaces the store and counts reads."""

    def __init__(self) -> None:
        self.held_by: dict[str, dict[str, tuple[str, ...]]] = {ADA: {"crm": ("admin",)}}
        self.apps = {"core", "crm", "hr"}
        self.reads = Counter[str]()
        self.failing = False

    async def app(self, app_id: str) -> AppRow | None:
        self._read(app_id)
        roles = [Role(name="admin", permissions=["*"])]
        row = AppRow(app_id=app_id, entities=[], permissions=[], roles=roles)
        return row if app_id in self.apps else None

    async def held_roles(self, user_id: str) -> dict[str, tuple[str, ...]]:
        self._read(user_id)
        return self.held_by.get(user_id, {})

    def _read(self, what: str) -> None:
        self.reads[what] += 1
        if self.failing:
            raise Unavailable("away")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def notifications() -> FakeNotifications:
    return FakeNotifications()


@pytest.fixture
def cache(tables: Tables, notifications: FakeNotifications) -> RoleCache:
    return RoleCache(tables, notifications, ())  # type: ignore[arg-type]


async def read_all(cache: RoleCache) -> None:
    for app_id in ("core", "crm", "hr"):
        await cache.app(app_id)
    for user_id in (ADA, BOB):
        await cache.held_roles(user_id)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("payload", "stale"),
    [
        ("crm", {"crm", ADA}),
        ("hr", {"hr"}),
        (notification("crm", ADA), {ADA}),
        (notification("hr", BOB), {BOB}),
        (None, {"core", "crm", "hr", ADA, BOB}),
        ("\0", set[str]()),
        (f"crm {ADA.upper()}", set[str]()),
    ],
)
async def test_a_notification_makes_stale_what_it_names(
    tables: Tables,
    notifications: FakeNotifications,
    cache: RoleCache,
    payload: str | None,
    stale: set[str],
):
    for _ in range(3):
        await read_all(cache)
    assert set(tables.reads.values()) == {1}
    await notifications.notify(TOPIC, payload)
    await read_all(cache)
    assert {what for what, times in tables.reads.items() if times == 2} == stale


@pytest.mark.anyio
async def test_a_change_is_seen_by_the_next_decision(
    tables: Tables, notifications: FakeNotifications, cache: RoleCache
):
    await read_all(cache)
    tables.held_by = {BOB: {"hr": ("admin",)}}
    await notifications.notify(TOPIC, notification("crm"))
    await notifications.notify(TOPIC, notification("hr", BOB))
    assert await cache.held_roles(ADA) == {}
    assert await cache.held_roles(BOB) == {"hr": ("admin",)}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        ("crm", {"hr"}),
        ("core", set[str]()),
        (notification("core", ADA), set[str]()),
        (notification("hr", ADA), {"crm"}),
        (notification("core", BOB), {"crm", "hr"}),
        (None, set[str]()),
    ],
)
async def test_a_decision_is_kept_until_what_it_was_made_of_may_have_changed(
    notifications: FakeNotifications, cache: RoleCache, payload: str | None, kept: set[str]
):
    async def decided() -> Grant:
        return Grant()

    asked = {app_id: (ADA, app_id, "notes", "read") for app_id in ("crm", "hr")}
    for each in asked.values():
        await cache.grants.get_or_load(each, decided)
    await notifications.notify(TOPIC, payload)
    assert {app_id for app_id, each in asked.items() if cache.grants.get(each)} == kept


@pytest.mark.anyio
async def test_a_failed_read_leaves_nothing_to_decide_from_until_one_succeeds(
    tables: Tables, notifications: FakeNotifications, cache: RoleCache
):
    await read_all(cache)
    tables.failing = True
    await notifications.notify(TOPIC, notification("crm"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await cache.app("crm")
        with pytest.raises(Unavailable):
            await cache.held_roles(ADA)
    assert await cache.app("hr")
    tables.failing = False
    await read_all(cache)


@pytest.mark.anyio
async def test_an_unknown_app_is_not_found_and_found_once_it_exists(
    tables: Tables, cache: RoleCache
):
    with pytest.raises(NotFound):
        await cache.app("new")
    for unknown in ("", "New", "\0", "a" * 64):
        with pytest.raises(NotFound):
            await cache.app(unknown)
    assert set(tables.reads) == {"new"}
    tables.apps.add("new")
    assert await cache.app("new")


@pytest.mark.anyio
@pytest.mark.parametrize("user_id", [None, "", "nonsense", "\0", ADA.upper(), f"{ADA}\n"])
async def test_a_text_that_is_no_id_of_a_user_holds_nothing_and_reads_nothing(
    tables: Tables, cache: RoleCache, user_id: str | None
):
    assert await cache.held_roles(user_id) == {}
    assert not tables.reads
