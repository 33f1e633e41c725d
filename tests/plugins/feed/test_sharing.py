"""Streams that follow the same share the work, however many there are."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from kernel.public import CHANGES, STATEMENTS
from kernel.testing import Server
from tests.waiting import eventually

from .support import APP, create, follow
from .test_trouble import open_streams

COUNT = 4


class JudgeCounter:
    """Counts the statements that judge changes, on their way to the database."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        eventually(lambda: open_streams(server) == 0)  # others would judge as well
        self.count = 0
        statements = server.services.get(STATEMENTS)
        self._fetch_all: Any = statements.fetch_all
        monkeypatch.setattr(statements, "fetch_all", self._fetch)

    async def _fetch(self, query: Any, *params: Any, **options: Any) -> list[bytes]:
        text = query if isinstance(query, bytes) else query.encode()
        self.count += text.count(b"jsonb_array_elements($1::jsonb)")
        return await self._fetch_all(query, *params, **options)


def count_waiting(server: Server) -> int:
    """How many streams have read all there is."""
    changes: Any = server.services.get(CHANGES)
    return len([item for item in changes.tailer._followers._all if item._turn is not None])


@pytest.mark.parametrize("streams", [1, 2, 12])
def test_a_change_is_judged_once_for_all_who_see_the_same(
    desk: Server, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    """Of as many accounts with the same role, so that nothing but their rights is equal."""
    accounts = [desk.user(roles={APP: ["reader"]}) for _ in range(streams)]
    judged = JudgeCounter(desk, monkeypatch)
    with ExitStack() as opened:
        followed = [
            opened.enter_context(follow(account, where={"stage": "Won"}).wait_ready())
            for account in accounts
        ]
        eventually(lambda: count_waiting(desk) >= streams)
        for number in range(1, COUNT + 2):
            create(desk.admin, title=str(number), stage="Won")
            for stream in followed:
                stream.changes(number)  # each change is a batch of its own
            if number == 1:
                judged.count = 0  # a stream may have read the first one for itself
        events = [stream.named("enter")[1:] for stream in followed]
    assert judged.count == COUNT
    assert all(own == events[0] for own in events)


def test_other_rights_are_judged_by_themselves(
    desk: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [desk.user(roles={APP: ["owner"]}) for _ in range(3)]
    judged = JudgeCounter(desk, monkeypatch)
    with ExitStack() as opened:
        followed = [opened.enter_context(follow(account).wait_ready()) for account in accounts]
        records = [create(account, title=account.username) for account in accounts]
        for stream, record in zip(followed, records, strict=True):
            assert stream.changes(1) == [("enter", record)]
        for stream in followed:
            assert len(stream.named("enter", "change", "leave")) == 1
    assert judged.count >= len(accounts)


def test_who_follows_another_entity_judges_nothing(
    desk: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = JudgeCounter(desk, monkeypatch)
    with follow(desk.admin, "contacts").wait_ready() as stream:
        for number in range(COUNT):
            create(desk.admin, title=str(number))
        person = create(desk.admin, "contacts", name="the last")
        assert stream.changes(1) == [("enter", person)]
    assert judged.count == 1
