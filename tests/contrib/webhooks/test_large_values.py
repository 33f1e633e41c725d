"""Values that are too large for the trail: one change has them in memory at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from contrib.webhooks import store
from kernel.public import CHANGES, STATEMENTS, CommittedChange
from kernel.testing import Server, running_server
from plugins.data.watches.watch import EntityWatch
from tests.waiting import eventually

from .support import CONFIG, DEALS, Receiver, make_hook, path, states

pytestmark = pytest.mark.slow
RECORDS = 20
LETTERS = 1_200_000


@pytest.fixture(scope="module")
def server(postgres: Any, tmp_path_factory: Any) -> Generator[Server]:
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("large")) as running:
        running.install(DEALS)
        yield running


class Followed:
    """A webhook, with what is judged for it and where it was then."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, url: str, **values: Any):
        self.server = server
        self.hook_id = make_hook(server, "crm", url, name=url[-50:], **values)["id"]
        self.sizes: list[int] = []
        """Bytes of the records of each judgement."""
        self.positions: set[str | None] = set()
        self.filled: list[int] = []
        judge = EntityWatch.judge
        changes: Any = server.services.get(CHANGES)
        fill = changes.fill

        async def note_judging(watch: EntityWatch, part: Sequence[CommittedChange]) -> Any:
            size = sum(len(change.old or b"") + len(change.new or b"") for change in part)
            hook = await store.find(server.services.get(STATEMENTS), "crm", self.hook_id)
            assert hook is not None
            self.sizes.append(size)
            self.positions.add(hook.position)
            return await judge(watch, part)

        async def note_filling(change: CommittedChange) -> CommittedChange:
            self.filled.append(change.id)
            return await fill(change)

        monkeypatch.setattr(EntityWatch, "judge", note_judging)
        monkeypatch.setattr(changes, "fill", note_filling)

    def write(self) -> None:
        """Write large records in one transaction."""
        self.server.sql(
            "insert into crm.deals (title, stage)"
            " select n || repeat('x', %s), 'stage ' || n from generate_series(1, %s) as n",
            LETTERS, RECORDS,
        )  # fmt: skip

    def end(self) -> None:
        self.server.admin.delete(path("crm", self.hook_id))


def test_a_page_of_large_values_is_never_in_memory_as_a_whole(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = Followed(server, monkeypatch, receiver.url("/large"))
    began = datetime.now(UTC).isoformat()
    followed.write()
    eventually(lambda: states(server, "crm", followed.hook_id) == ["delivered"] * RECORDS, 120)
    titles = {body["data"]["record"]["title"] for body in receiver.bodies()}
    assert titles == {f"{number}" + "x" * LETTERS for number in range(1, RECORDS + 1)}
    assert len(followed.filled) == RECORDS
    assert max(followed.sizes) < 2 * LETTERS, "one change at a time"
    assert len(followed.positions) >= RECORDS, "the position moves behind each"

    followed.sizes.clear()
    answer = server.admin.post(path("crm", followed.hook_id, "replay"), json={"since": began})
    assert answer.json() == {"queued": RECORDS}, answer.text
    assert max(followed.sizes) < 2 * LETTERS
    followed.end()


def test_large_values_that_are_not_sent_are_not_read(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = Followed(server, monkeypatch, receiver.url("/small"), fields=["stage"])
    followed.write()
    eventually(lambda: states(server, "crm", followed.hook_id) == ["delivered"] * RECORDS, 120)
    stages = {body["data"]["record"]["stage"] for body in receiver.bodies()}
    assert stages == {f"stage {number}" for number in range(1, RECORDS + 1)}
    assert followed.filled == []
    assert max(followed.sizes) < LETTERS
    followed.end()


def test_large_values_that_decide_are_read(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"title": {"$like": "1xx%"}}
    followed = Followed(
        server, monkeypatch, receiver.url("/deciding"), fields=["stage"], where=where
    )
    followed.write()
    [body] = receiver.wait(1, seconds=120)
    assert body["data"]["record"]["stage"] == "stage 1"
    eventually(lambda: len(followed.filled) == RECORDS, 120)
    followed.end()
