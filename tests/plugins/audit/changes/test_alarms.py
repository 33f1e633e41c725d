"""Alarms of many sleepers, by one timer."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from plugins.audit.changes.following import alarms as alarms_module
from plugins.audit.changes.following.alarms import Alarms
from plugins.audit.changes.following.writes import Writes
from tests.waiting import until

FOREVER = 900.0


class Sleeper:
    def __init__(self, until: float) -> None:
        self.until = until
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1


async def test_each_is_woken_once_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "SLOT", 0.001)
    now = asyncio.get_running_loop().time()
    alarms = Alarms()
    late = Sleeper(now + FOREVER)
    sleepers = [Sleeper(now + number / 500) for number in range(9)]
    for sleeper in (late, *reversed(sleepers)):
        alarms.set(sleeper)
        alarms.set(sleeper)
    await until(lambda: all(sleeper.rings for sleeper in sleepers))
    assert [sleeper.rings for sleeper in sleepers] == [1] * 9
    assert asyncio.get_running_loop().time() >= sleepers[-1].until
    assert late.rings == 0
    alarms.remove(late)
    assert len(alarms) == 0


async def test_who_puts_it_off_sleeps_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "SLOT", 0.001)
    now = asyncio.get_running_loop().time()
    alarms = Alarms()
    patient = Sleeper(now)
    other = Sleeper(now + 0.01)
    alarms.set(patient)
    alarms.set(other)
    patient.until = now + FOREVER  # the next alarm is that of the other all the same
    await until(lambda: other.rings)
    assert patient.rings == 0
    patient.until = now
    alarms.remove(patient)
    alarms.set(patient)
    await until(lambda: patient.rings)


async def test_who_has_left_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "SLOT", 0.001)
    now = asyncio.get_running_loop().time()
    alarms = Alarms()
    gone = Sleeper(now)
    other = Sleeper(now)
    alarms.set(gone)
    alarms.set(other)
    alarms.remove(gone)
    alarms.remove(gone)
    await until(lambda: other.rings)
    assert gone.rings == 0


async def test_a_write_ends_the_rest_of_the_reader() -> None:
    writes = Writes()
    answers: list[bool] = []
    async with anyio.create_task_group() as tasks:

        async def rest() -> None:
            answers.append(await writes.wait(0, FOREVER))

        tasks.start_soon(rest)
        await anyio.wait_all_tasks_blocked()
        writes.note()
        writes.note()
    assert answers == [True]
    assert not await writes.wait(0, 0), "it is known only once"


async def test_a_write_during_a_look_is_known_at_once() -> None:
    writes = Writes()
    writes.note()
    assert await writes.wait(0, FOREVER)
