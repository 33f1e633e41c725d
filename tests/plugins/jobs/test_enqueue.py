"""What the enqueue batcher answers when the server stops."""

from collections.abc import Sequence

import anyio
import pytest
from msgspec import structs

from kernel.errors import Unavailable
from plugins.jobs.enqueue import EnqueueBatcher
from plugins.jobs.models import NewRow

ROW = NewRow(
    id="", app_id="shop", payload="{}", run_at=None, max_attempts=1, timeout_s=60, priority=0,
    user_id=None, key=None,
)  # fmt: skip


class StuckStore:
    """Receives rows and never answers."""

    def __init__(self) -> None:
        self.began = anyio.Event()

    async def insert(self, rows: Sequence[NewRow]) -> None:
        self.began.set()
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_a_retry_is_suggested_only_for_rows_that_were_not_sent():
    store = StuckStore()
    batcher = EnqueueBatcher(store)  # pyright: ignore[reportArgumentType]
    answers = list[tuple[str, str | None]]()

    async def enqueue(name: str) -> None:
        with pytest.raises(Unavailable) as caught:
            await batcher.put(structs.replace(ROW, id=name))
        answers.append((name, caught.value.headers.get("retry-after")))

    async with anyio.create_task_group() as callers, anyio.create_task_group() as running:
        running.start_soon(batcher.run)
        await anyio.wait_all_tasks_blocked()
        callers.start_soon(enqueue, "being stored")
        await store.began.wait()
        callers.start_soon(enqueue, "waits")
        await anyio.wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    assert sorted(answers) == [("being stored", None), ("waits", "1")]
