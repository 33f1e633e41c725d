"""A value is kept until a notification, and never when one arrived while it was loaded."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from kernel.testing import FakeNotifications
from kernel.toolkit import cache as module
from kernel.toolkit.cache import InvalidatedCache

Cache = InvalidatedCache[str, str]


def returning(value: str, calls: list[str] | None = None) -> Callable[[], Awaitable[str]]:
    async def load() -> str:
        if calls is not None:
            calls.append(value)
        return value

    return load


@pytest.fixture
def notifications() -> FakeNotifications:
    return FakeNotifications()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


async def test_a_value_is_loaded_once(notifications: FakeNotifications):
    cache, calls = Cache(notifications, "users", size=10), list[str]()
    assert cache.get("ada") is None
    assert await cache.get_or_load("ada", returning("1", calls)) == "1"
    assert await cache.get_or_load("ada", returning("2", calls)) == "1"
    assert cache.get("ada") == "1"
    assert calls == ["1"]


@pytest.mark.parametrize(
    ("payload", "left"),
    [("ada", {"bob"}), ("carl", {"ada", "bob"}), (None, set()), ("", {"ada", "bob"})],
)
async def test_a_notification_removes_what_it_names(
    notifications: FakeNotifications, payload: str | None, left: set[str]
):
    cache = Cache(notifications, "users", size=10)
    for key in ("ada", "bob"):
        await cache.get_or_load(key, returning(key))
    await notifications.notify("users", payload)
    assert {key for key in ("ada", "bob") if cache.get(key)} == left
    assert cache._entries.keys() == left


async def test_a_payload_may_name_entries_by_their_values(notifications: FakeNotifications):
    def affects(payload: str, key: str, value: str) -> bool:
        return value == payload

    cache = Cache(notifications, "sessions", size=10, affects=affects)
    for key, value in (("token 1", "ada"), ("token 2", "bob"), ("token 3", "ada")):
        await cache.get_or_load(key, returning(value))
    await notifications.notify("sessions", "ada")
    assert [cache.get(f"token {n}") for n in (1, 2, 3)] == [None, "bob", None]


@pytest.mark.parametrize("payload", ["ada", "bob", None])
async def test_a_value_loaded_while_a_notification_arrives_is_not_kept(
    notifications: FakeNotifications, payload: str | None
):
    cache = Cache(notifications, "users", size=10)

    async def load() -> str:
        await notifications.notify("users", payload)
        return "old"

    assert await cache.get_or_load("ada", load) == "old"
    assert cache.get("ada") is None


async def test_a_load_that_began_after_the_notification_is_not_shared_with_an_older_one(
    notifications: FakeNotifications,
):
    cache, go = Cache(notifications, "users", size=10), anyio.Event()
    found: dict[str, str] = {}

    async def slow() -> str:
        await go.wait()
        return "old"

    async def ask(name: str, load: Callable[[], Awaitable[str]]) -> None:
        found[name] = await cache.get_or_load("ada", load)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "before", slow)
        await anyio.wait_all_tasks_blocked()
        await notifications.notify("users", "ada")
        await ask("after", returning("new"))
        go.set()
    assert found == {"before": "old", "after": "new"}
    assert cache.get("ada") == "new"


async def test_calls_at_the_same_time_share_one_load(notifications: FakeNotifications):
    cache, calls, found = Cache(notifications, "users", size=10), list[str](), list[str]()

    async def slow() -> str:
        calls.append("slow")
        await anyio.wait_all_tasks_blocked()
        return "1"

    async def ask() -> None:
        found.append(await cache.get_or_load("ada", slow))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert (calls, found) == (["slow"], ["1"] * 5)


async def test_an_error_is_shared_and_not_kept(notifications: FakeNotifications):
    cache, calls, errors = Cache(notifications, "users", size=10), list[str](), list[str]()

    async def fail() -> str:
        calls.append("fail")
        await anyio.wait_all_tasks_blocked()
        raise ValueError("away")

    async def ask() -> None:
        try:
            await cache.get_or_load("ada", fail)
        except ValueError as error:
            errors.append(str(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert (calls, errors) == (["fail"], ["away"] * 3)
    assert await cache.get_or_load("ada", returning("1")) == "1"


async def test_a_caller_that_is_cancelled_leaves_the_load_to_another(
    notifications: FakeNotifications,
):
    cache, found = Cache(notifications, "users", size=10), list[str]()

    async def ask() -> None:
        found.append(await cache.get_or_load("ada", returning("1")))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:

            async def never() -> str:
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                await anyio.sleep_forever()
                return ""

            await cache.get_or_load("ada", never)
    assert found == ["1"]


async def test_a_value_ends_after_its_seconds(notifications: FakeNotifications, clock: list[float]):
    cache = Cache(notifications, "users", size=10, ttl=60)
    await cache.get_or_load("ada", returning("1"))
    clock[0] += 59
    assert cache.get("ada") == "1"
    clock[0] += 1
    assert cache.get("ada") is None
    assert await cache.get_or_load("ada", returning("2")) == "2"


async def test_a_value_may_say_how_long_it_is_kept(
    notifications: FakeNotifications, clock: list[float]
):
    cache: Any = InvalidatedCache(notifications, "users", size=10, ttl=lambda value: value)
    for seconds in (5, 50, -1):

        async def load(seconds: int = seconds) -> int:
            return seconds

        assert await cache.get_or_load(seconds, load) == seconds
    clock[0] += 5
    assert [cache.get(seconds) for seconds in (5, 50, -1)] == [None, 50, None]


async def test_the_oldest_entry_makes_room(notifications: FakeNotifications):
    cache = Cache(notifications, "users", size=2)
    for key in ("ada", "bob", "carl"):
        await cache.get_or_load(key, returning(key))
    assert [cache.get(key) for key in ("ada", "bob", "carl")] == [None, "bob", "carl"]
