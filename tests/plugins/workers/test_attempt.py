"""The states of an attempt, and what a supervisor counts of attempts that failed."""

from __future__ import annotations

import gc
from itertools import product
from types import SimpleNamespace
from typing import Any, get_args

import anyio
import pytest

from plugins.workers.config import WorkersConfig
from plugins.workers.control.crashes import LONGEST_WAIT, MAX_CRASHES, PERIOD, Crashes
from plugins.workers.control.starts import Starts
from plugins.workers.host import Background
from plugins.workers.models import Installation, Release
from plugins.workers.replica.attempt import NEXT, Attempt, State
from plugins.workers.replica.replica import Replica

STATES: tuple[State, ...] = get_args(State)
WAYS: dict[State, tuple[State, ...]] = {
    "new": (),
    "starting": ("starting",),
    "up": ("starting", "up"),
    "stopping": ("starting", "up", "stopping"),
    "ended": ("starting", "ended"),
}
"""How an attempt comes into each state."""


def attempt_in(state: State) -> Attempt:
    attempt = Attempt()
    for step in WAYS[state]:
        attempt.become(step)
    assert attempt.state == state
    return attempt


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_a_change_that_is_not_drawn_is_ignored(before: State, after: State):
    attempt = attempt_in(before)
    attempt.become(after)
    assert attempt.state == (after if after in NEXT[before] else before)


def test_the_drawing_has_every_state():
    assert set(NEXT) == set(STATES)
    assert Attempt.__doc__
    for state in STATES:
        assert state in Attempt.__doc__


def test_only_what_is_up_or_has_ended_is_decided():
    async def is_decided(state: State) -> bool:
        with anyio.move_on_after(0.01):
            await attempt_in(state).wait_decided()
            return True
        return False

    decided = {state for state in STATES if anyio.run(is_decided, state)}
    assert decided == {"up", "stopping", "ended"}, "one that stops here was up before"


def test_a_late_answer_does_not_revive_what_stops():
    attempt = attempt_in("starting")
    attempt.become("stopping")
    attempt.become("up")
    assert attempt.state == "stopping"
    attempt.become("ended")
    assert not attempt.is_running


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_and_a_minute_without_a_crash_ends_them():
    clock = Clock()
    crashes = Crashes(2.0, clock)
    crashes.note_start()
    waits = [crashes.note_crash() for _ in range(MAX_CRASHES)]
    assert waits == [0, 2, 4, 8, 16]
    assert crashes.are_too_many
    assert [crashes.note_crash() for _ in range(6)] == [32, 64, 128, 256, *[LONGEST_WAIT] * 2]
    crashes.note_start()
    clock.now += PERIOD + 1
    assert crashes.note_crash() == 0
    assert not crashes.are_too_many


def test_a_start_that_hangs_counts_as_all_crashes():
    crashes = Crashes(2.0, Clock())
    assert crashes.note_failed_start(hung=True) == 16
    assert crashes.are_too_many
    crashes.clear()
    assert not crashes.are_too_many
    assert crashes.wait <= 0


def test_a_start_that_waits_for_the_database_is_no_failure():
    crashes = Crashes(2.0, Clock())
    crashes.postpone()
    assert crashes.wait == 2
    assert not crashes.are_too_many


async def test_a_process_that_no_task_looks_after_any_more_is_known_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
):
    """At the end of a server the tasks are cancelled that were to end what retires."""

    async def start(self: Replica, seconds: float) -> None:
        self.attempt.become("starting")
        self.attempt.become("up")

    async def prepare(release: Release) -> Any:
        return SimpleNamespace(release=release, hello=SimpleNamespace(credentials={}))

    monkeypatch.setattr(Replica, "start", start)
    host: Any = SimpleNamespace(
        config=WorkersConfig(),
        machine=SimpleNamespace(starts=anyio.CapacityLimiter(1)),
        logs=SimpleNamespace(write=lambda *_: None),
        background=Background(),
        services=None,
    )
    builder: Any = SimpleNamespace(prepare=prepare)
    starts = Starts(Installation("crm", 1), host, builder, lambda: None)
    await starts.start(Release(app_id="crm", number=1, key=1, version=1, digest="0" * 64))
    gc.collect()
    [replica] = starts.list_replicas()
    replica.attempt.become("ended")
    assert starts.list_replicas() == []
