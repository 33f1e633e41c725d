"""Changes with values that are too large for the trail, read for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from kernel.public import CHANGES, Actor, CommittedChange
from kernel.testing import Server
from plugins.data.watches.watch import EntityWatch
from plugins.workers.child.protocol import CollectionOp
from plugins.workers.replica.followed import MAX_BYTES, ChangeOperations

pytestmark = pytest.mark.slow
RECORDS = 20
LETTERS = 2_000_000
NOTES: Any = {
    "appId": "notes",
    "name": "Notes",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}],
}


def test_an_answer_is_made_change_by_change(
    workers: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.install(NOTES)
    begin = workers.run(workers.services.get(CHANGES).now)
    workers.sql(
        "insert into notes.notes (text) select n || repeat('x', %s)"
        " from generate_series(1, %s) as n",
        LETTERS, RECORDS,
    )  # fmt: skip
    judged: list[int] = []
    judge = EntityWatch.judge

    async def note_judging(watch: EntityWatch, part: Sequence[CommittedChange]) -> Any:
        judged.append(sum(len(change.new or b"") for change in part))
        return await judge(watch, part)

    monkeypatch.setattr(EntityWatch, "judge", note_judging)
    operations = ChangeOperations(workers.services, "notes")
    actor = Actor(user_id=workers.admin.id, username="admin")
    texts: list[str] = []
    position = begin
    is_complete = False
    while not is_complete:
        judged.clear()
        op = CollectionOp(id="1", op="changes", entity="notes", data={"since": position})
        reply = workers.run(operations.read, actor, op)
        assert max(judged, default=0) < 2 * LETTERS, "one change at a time"
        assert sum(judged) < MAX_BYTES + 2 * LETTERS, "no more than fits, and the next one"
        assert len(reply) < MAX_BYTES + LETTERS
        answer = msgspec.json.decode(reply)
        texts += [change["record"]["text"] for change in answer["changes"]]
        position = answer["position"]
        is_complete = answer["complete"]
    assert sorted(len(text) - LETTERS for text in texts) == [1] * 9 + [2] * (RECORDS - 9)
    assert len(set(texts)) == RECORDS
