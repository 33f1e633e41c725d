"""What one address, user or app may have of what all share, at once and over time."""

import heapq
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from kernel.errors import Throttled, Unavailable
from kernel.toolkit import limiter as module
from kernel.toolkit.limiter import ConcurrencyLimiter, RateLimiter
from tests.waiting import until


@pytest.mark.parametrize("most", [1, 2, 8])
def test_a_key_has_a_bound_of_its_own(most: int) -> None:
    limiter = ConcurrencyLimiter(per_key=most, message="too many", retry_after=7)
    for _ in range(most):
        limiter.take("ada")
    with pytest.raises(Unavailable, match="too many") as caught:
        limiter.take("ada")
    assert caught.value.headers["retry-after"] == "7"
    limiter.take("bob")
    limiter.give_back("ada")
    limiter.take("ada")


def test_all_keys_have_a_bound_together() -> None:
    limiter = ConcurrencyLimiter(100, per_key=60)
    limiter.take("ada", 60)
    limiter.take("bob", 30)
    for key, amount in (("ada", 1), ("bob", 11), ("carl", 11)):
        with pytest.raises(Unavailable):
            limiter.take(key, amount)
    limiter.take("carl", 10)


def test_a_refusal_says_whether_it_is_the_share_of_the_key() -> None:
    limiter = ConcurrencyLimiter(2, per_key=1, message="all are taken", key_message="yours is")
    limiter.take("ada")
    with pytest.raises(Unavailable, match="yours is"):
        limiter.take("ada")
    limiter.take("bob")
    with pytest.raises(Unavailable, match="all are taken"):
        limiter.take("carl")
    with pytest.raises(Unavailable, match="yours is"):
        limiter.take("ada")


def test_nothing_is_kept_of_what_was_given_back() -> None:
    limiter = ConcurrencyLimiter(100, per_key=50)
    limiter.take("ada", 50)
    limiter.give_back("ada", 20)
    limiter.give_back("ada", 30)
    limiter.give_back("bob", 0)
    assert (limiter._active, dict(limiter._held)) == (0, {})


async def test_a_place_is_given_back_after_an_error() -> None:
    limiter = ConcurrencyLimiter(1)
    with pytest.raises(ZeroDivisionError):
        async with limiter.hold("ada"):
            raise ZeroDivisionError
    async with limiter.hold("ada"):
        with pytest.raises(Unavailable, match="too many requests at once"):
            async with limiter.hold("bob"):
                pass
    assert (limiter._active, dict(limiter._held)) == (0, {})


class Work:
    """Holds places until it is let go, and notes the order."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self.limiter = limiter
        self.began: list[str] = []
        self.refused: list[str] = []
        self.gates: dict[str, anyio.Event] = {}

    async def hold(self, name: str, key: Hashable) -> None:
        self.gates[name] = anyio.Event()
        try:
            async with self.limiter.hold(key):
                self.began.append(name)
                await self.gates[name].wait()
        except Unavailable:
            self.refused.append(name)

    async def end(self, name: str) -> None:
        self.gates[name].set()
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def working(work: Work, *names: str) -> AsyncGenerator[None]:
    """Starts one holder after the other; the key is the first letter."""
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(work.hold, name, name[0])
            await anyio.wait_all_tasks_blocked()
        yield
        for gate in work.gates.values():
            gate.set()


async def test_callers_wait_in_the_order_of_their_arrival() -> None:
    work = Work(ConcurrencyLimiter(1, queue=2))
    async with working(work, "a1", "b1", "a2"):
        assert work.began == ["a1"]
        await work.end("a1")
        assert work.began == ["a1", "b1"]
    assert work.began == ["a1", "b1", "a2"]


async def test_a_key_at_its_bound_holds_up_no_other_key() -> None:
    work = Work(ConcurrencyLimiter(2, per_key=1, queue=5))
    async with working(work, "a1", "a2", "b1", "c1"):
        assert work.began == ["a1", "b1"]
        await work.end("b1")
        assert work.began == ["a1", "b1", "c1"]
        await work.end("c1")
        assert work.began == ["a1", "b1", "c1"]
        await work.end("a1")
        assert work.began[-1] == "a2"
    assert work.limiter._waiting == {}


async def test_so_many_of_a_key_may_wait() -> None:
    work = Work(ConcurrencyLimiter(1, queue=1))
    async with working(work, "a1", "a2", "a3", "b1", "b2"):
        assert (work.began, work.refused) == (["a1"], ["a3", "b2"])


async def test_a_caller_waits_for_so_many_seconds() -> None:
    work = Work(ConcurrencyLimiter(1, queue=1, timeout=0.01))
    async with working(work, "a1", "b1"):
        await until(lambda: work.refused == ["b1"])
    assert (work.limiter._active, work.limiter._waiting) == (0, {})


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "as it is its turn"])
async def test_a_caller_that_is_cancelled_keeps_no_place(given: bool) -> None:
    limiter = ConcurrencyLimiter(1, queue=1)
    limiter.take("a")
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            async with limiter.hold("b"):
                await anyio.sleep_forever()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        if given:
            limiter.give_back("a")
        tasks.cancel_scope.cancel()
    if not given:
        limiter.give_back("a")
    assert (limiter._active, dict(limiter._held), limiter._waiting) == (0, {}, {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def test_a_key_may_use_its_burst_and_then_its_rate(clock: list[float]) -> None:
    limiter = RateLimiter(10, burst=5)
    assert sum(limiter.take("crm") for _ in range(100)) == 50
    assert limiter.take("shop")
    assert not limiter.allows("crm")
    clock[0] += 0.375
    assert sum(limiter.take("crm") for _ in range(100)) == 3
    clock[0] += 1000
    assert sum(limiter.take("crm") for _ in range(100)) == 50


def test_a_large_amount_is_owed(clock: list[float]) -> None:
    limiter = RateLimiter(100, burst=1)
    assert limiter.take("crm", 99)
    assert limiter.take("crm", 1000)
    clock[0] += 9.989
    assert not limiter.take("crm")
    clock[0] += 0.011
    assert limiter.take("crm")


def test_too_many_is_429_with_the_seconds_to_wait(clock: list[float]) -> None:
    limiter = RateLimiter(0.1, burst=20)
    limiter.check("ada")
    limiter.check("ada")
    with pytest.raises(Throttled, match="too many logins") as caught:
        limiter.check("ada", "too many logins")
    assert caught.value.headers["retry-after"] == "10"
    clock[0] += 10
    limiter.check("ada")


def test_a_limiter_keeps_so_many_keys(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    limiter = RateLimiter(2, burst=1)
    for key in ("a", "b", "c"):
        assert limiter.take(key)
    clock[0] += 0.25
    assert limiter.take("c")
    clock[0] += 0.25
    limiter.take("d")  # a and b have their whole burst again, c has not
    assert limiter._full_at.keys() == {"c", "d"}
    for key in ("e", "f", "g", "h"):
        limiter.take(key)
    assert len(limiter._full_at) <= 3


def test_a_full_limiter_frees_no_throttled_key(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 10)
    limiter = RateLimiter(1, burst=5)
    assert sum(limiter.take("flood") for _ in range(100)) == 5
    choices = 0

    def select(keys: int, items: Iterable[Any], key: Callable[[Any], Any]) -> list[Any]:
        nonlocal choices
        choices += 1
        return heapq.nlargest(keys, items, key)

    monkeypatch.setattr(module, "nlargest", select)
    for number in range(200):  # all of them are busy
        assert limiter.take(number)
        assert not limiter.allows("flood")
        assert len(limiter._full_at) <= 10
    assert choices < 50, "the choice is made once for several new keys"
