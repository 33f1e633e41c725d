"""What the intake tells those who wait when the server ends."""

from collections.abc import Sequence

import anyio
import pytest
from msgspec import structs

from kernel.errors import Unavailable
from plugins.jobs.intake import Intake
from plugins.jobs.models import NewRow

ROW = NewRow(
    id="", app_id="shop", payload="{}", run_at=None, max_attempts=1, timeout_s=60, priority=0,
    user_id=None, key=None,
)  # fmt: skip


class StuckStore:
    """Has jobs and never says so."""

    def __init__(self) -> None:
        self.began = anyio.Event()

    async def insert(self, rows: Sequence[NewRow]) -> None:
        self.began.set()
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_who_was_being_stored_when_it_ends_may_be_in_and_who_waited_is_not():
    store = StuckStore()
    intake = Intake(store)  # pyright: ignore[reportArgumentType]
    told = list[tuple[str, str | None]]()

    async def enqueue(name: str) -> None:
        with pytest.raises(Unavailable) as caught:
            await intake.put(structs.replace(ROW, id=name))
        told.append((name, caught.value.headers.get("retry-after")))

    async with anyio.create_task_group() as callers, anyio.create_task_group() as running:
        running.start_soon(intake.run)
        await anyio.wait_all_tasks_blocked()
        callers.start_soon(enqueue, "being stored")
        await store.began.wait()
        callers.start_soon(enqueue, "waits")
        await anyio.wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    assert sorted(told) == [("being stored", None), ("waits", "1")]
