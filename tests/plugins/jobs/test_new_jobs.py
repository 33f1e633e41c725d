"""New jobs are inserted together where several come, and a lone one at once by its caller."""

from collections.abc import Sequence

import anyio
import pytest

from kernel.errors import Unavailable
from plugins.jobs.enqueue import NewJobs
from plugins.jobs.models import NewRow


class Table:
    """Takes jobs while it is `open`."""

    def __init__(self) -> None:
        self.inserts: list[list[str]] = []
        self.open = anyio.Event()
        self.open.set()

    async def insert(self, rows: Sequence[NewRow]) -> None:
        names = [row.id for row in rows]
        self.inserts.append(names)
        await self.open.wait()
        if "bad" in names:
            raise Unavailable("away")


def row(name: str) -> NewRow:
    return NewRow(
        id=name, app_id="crm", payload="1", run_at=None, max_attempts=1, timeout_s=1.0,
        priority=0, user_id=None, key=None,
    )  # fmt: skip


async def insert(jobs: NewJobs, *names: str) -> None:
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(jobs.insert, row(name))


async def test_lone_jobs_are_inserted_one_by_one():
    table = Table()
    jobs = NewJobs(table.insert)
    for name in "abc":  # without the batcher, which does not run
        await jobs.insert(row(name))
    assert table.inserts == [["a"], ["b"], ["c"]]


async def test_jobs_of_one_moment_are_inserted_together_and_so_are_the_next_ones():
    table = Table()
    jobs = NewJobs(table.insert)
    async with jobs.running():
        await insert(jobs, "a", "b", "c")
        assert table.inserts == [["a"], ["b", "c"]]
        await insert(jobs, "d", "e")
        await insert(jobs, "f")
        await insert(jobs, "g")
    assert table.inserts[2:] == [["d", "e"], ["f"], ["g"]]


async def test_a_caller_that_fails_or_is_cancelled_holds_up_no_other():
    table = Table()
    jobs = NewJobs(table.insert)
    with pytest.raises(Unavailable, match="away"):
        await jobs.insert(row("bad"))
    table.open = anyio.Event()
    with anyio.move_on_after(0.01):
        await jobs.insert(row("cancelled"))
    table.open.set()
    await jobs.insert(row("a"))
    assert table.inserts == [["bad"], ["cancelled"], ["a"]]
