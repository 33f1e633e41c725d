"""The claim loop over a store of the test."""

import anyio
import msgspec

from plugins.jobs.config import JobsConfig
from plugins.jobs.models import Claimed, Promoted
from plugins.jobs.running.claimer import Claimer, Slots
from plugins.jobs.running.outcome import Run

APPS = ("busy", "other")


def claimed(app_id, number):
    return Claimed(
        id=str(number), app_id=app_id, payload=msgspec.Raw(b"1"), user_id=None, timeout_s=900,
        failures=0, max_attempts=1, quarantined=False, worker_crashes=0, unavailable=0, priority=0,
        run_at=number, delegation_ends=0, delegation_epoch="",
    )  # fmt: skip


class Endless:
    """A store whose apps always have more jobs than there are slots."""

    def __init__(self):
        self.jobs = self.promoted = 0

    async def claim(self, requests, token, lease):
        await anyio.sleep(0.005)
        found = [claimed(one.app_id, self.jobs + n) for one in requests for n in range(one.free)]
        self.jobs += len(found)
        return found

    async def promote_due(self):
        self.promoted += 1
        return Promoted(apps=[], next=None)

    async def release(self, tokens):
        pass


async def test_jobs_whose_time_comes_are_looked_at_however_many_others_wait():
    store, notified = Endless(), []
    claimer = Claimer(
        JobsConfig(poll_interval=0.1), store, Slots(10), running=lambda: APPS,
        start=lambda job, token: None,  # it has ended at once, and its slot is free
        notify_pending=notified.append,
    )  # fmt: skip

    async def work():
        while True:
            await claimer.step()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            while store.promoted < 5:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert store.jobs > 20, "claims go on between two looks"


def test_a_slot_that_another_job_takes_needs_no_claim():
    slots, runs = Slots(2), [Run(claimed("busy", number), "token") for number in range(40)]
    for run in runs[:20]:  # they are quick, so some are claimed ahead
        slots.take(run)
        slots.remove(run, 0.0)
    assert slots.needs_claim("busy")
    taken = [slots.take(run) for run in runs[20:]]
    assert taken == [True, True, *[False] * 18]
    slots.remove(runs[20], 0.0)
    assert slots.needs_claim("busy")
    following = slots.take_ready("busy")
    assert following is runs[22]
    slots.take(following)
    assert not slots.needs_claim("busy"), "enough wait for a slot"
    for _ in range(14):
        slots.take_ready("busy")
    assert slots.needs_claim("busy"), "they are claimed in portions"
