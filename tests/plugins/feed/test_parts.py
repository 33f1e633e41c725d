"""Parts of feeds by themselves: places, shared events, and the look at rights."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kernel.public import (
    WATCHES,
    Actor,
    BadRequest,
    CommittedChange,
    Unauthenticated,
    Unavailable,
    Watched,
)
from kernel.testing import Server
from plugins.feed import guard as guard_module
from plugins.feed.chunks import MAX_BYTES, MAX_PART, SharedChunks, cut_page
from plugins.feed.guard import SharedGuards, StreamGuard
from plugins.feed.places import Place, read_place
from tests.waiting import until

from .support import APP


def change(number: int, **more: Any) -> CommittedChange:
    members: dict[str, Any] = {
        "id": number, "app_id": APP, "entity": "deals", "record_id": str(number),
        "operation": "INSERT", "old": None, "new": b"{}", "owner_before": None,
        "owner_after": None, "actor": None, "request": None, "at": "", "transaction": number,
        "position": f"p{number}",
    }  # fmt: skip
    return CommittedChange(**members | more)


@pytest.mark.parametrize("place", [Place("abc-_9"), Place("x", 3, "0123abcd", 2**60)])
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert read_place(str(place), "since") == place


@pytest.mark.parametrize("text", ["", "a b", "a.1", "a.1.0123abcd", "a.100.0123abcd.1", "a\n", "é"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="since is no position of a feed"):
        read_place(text, "since")


def test_a_page_is_cut_into_parts() -> None:
    large = change(3, replaced=("title",))
    parts = [*cut_page([change(1), change(2), large, change(4)])]
    assert [[item.id for item in part] for part in parts] == [[1, 2], [3], [4]]
    many = [*cut_page([change(number) for number in range(MAX_PART + 1)])]
    assert [len(part) for part in many] == [MAX_PART, 1]
    assert [*cut_page([])] == []


async def test_streams_that_are_equal_share_what_one_of_them_writes() -> None:
    chunks = SharedChunks()
    written: list[int] = []

    async def write() -> bytes:
        written.append(1)
        await anyio.lowlevel.checkpoint()
        return b"x"

    async def ask() -> None:
        assert await chunks.get("stream", "page", write) == b"x"

    await ask()
    await ask()
    assert len(written) == 2, "one alone keeps nothing"
    with chunks.joined("stream"), chunks.joined("stream"):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert len(written) == 3


async def test_a_writer_that_is_cancelled_leaves_the_work_to_the_next() -> None:
    chunks = SharedChunks()
    began = anyio.Event()

    async def wait() -> bytes:
        began.set()
        await anyio.sleep_forever()
        return b""

    async def write() -> bytes:
        return b"x"

    with chunks.joined("stream"), chunks.joined("stream"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chunks.get, "stream", "page", wait)
            await began.wait()
            tasks.cancel_scope.cancel()
        assert await chunks.get("stream", "page", write) == b"x"


async def test_shared_events_have_a_bound() -> None:
    chunks = SharedChunks()
    piece = b"x" * (MAX_BYTES // 4)

    async def write() -> bytes:
        return piece

    with chunks.joined("stream"), chunks.joined("stream"):
        for number in range(20):
            await chunks.get("stream", number, write)
    assert chunks.size <= MAX_BYTES


class Answers:
    """Services whose hook `authenticate` answers in turn; the last answer repeats."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.actor = Actor(user_id=None)
        self.asked = 0
        self.address = "192.0.2.1"
        self.scope = {
            "path": "/feed",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer x"), (b"last-event-id", b"1")],
        }

    def get(self, _: Any) -> Any:
        return self

    def find(self, _: Any) -> Any:
        return None

    async def first(self, _: Any, request: Any) -> Any:
        assert isinstance(request, Answers)
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (None, "session"),
        (Unauthenticated("the access token has expired"), "token expired"),
        (Unauthenticated("session revoked: log in again"), "session"),
    ],
)
async def test_a_stream_goes_on_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, last: Any, reason: str
) -> None:
    monkeypatch.setattr(guard_module, "EVERY", 0.001)
    services: Any = Answers(Actor(user_id="u"), Unavailable("away"), Actor(user_id="u"), last)
    with anyio.fail_after(60):
        ended = await StreamGuard(services, services, []).refusal()
    assert ended == b'event: end\ndata: {"reason":"%b"}\n\n' % reason.encode()
    assert services.asked == 4


async def test_one_guard_looks_for_all_streams_of_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "EVERY", 0.001)
    services: Any = Answers(*[Actor(user_id="u")] * 3, None)
    guards: Any = SharedGuards()
    ends: list[bytes] = []

    async def watch(last_event_id: bytes) -> None:
        own: Any = Answers()
        own.scope["headers"] = [(b"authorization", b"Bearer x"), (b"last-event-id", last_event_id)]
        guard = StreamGuard(services, own, [])
        ends.append(await guards.refusal(guard))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(9):
                tasks.start_soon(watch, b"%d" % number)
    assert ends == [b'event: end\ndata: {"reason":"session"}\n\n'] * 9
    assert services.asked == 4, "as often as for one"
    assert not guards._ends
    assert not guards._streams


async def test_who_looks_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "EVERY", 0.001)
    services: Any = Answers(Actor(user_id="u"))
    guards = SharedGuards()
    ends: list[bytes] = []

    async def watch() -> None:
        ends.append(await guards.refusal(StreamGuard(services, services, [])))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as first:
                first.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(watch)
                await until(lambda: services.asked)
                first.cancel_scope.cancel()
            services.answers = [None]
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address", "192.0.2.2"),
        ("scope", {"path": "/other", "query_string": b"", "headers": []}),
        ("scope", {"path": "/feed", "query_string": b"token=x", "headers": []}),
        ("scope", {"path": "/feed", "query_string": b"", "headers": [(b"cookie", b"x")]}),
    ],
)
def test_other_callers_have_guards_of_their_own(name: str, value: Any) -> None:
    services: Any = Answers(None)
    one: Any = Answers(None)
    other: Any = Answers(None)
    one.scope["headers"] = []
    other.scope["headers"] = []
    assert StreamGuard(services, one, []).key == StreamGuard(services, other, []).key
    setattr(other, name, value)
    assert StreamGuard(services, one, []).key != StreamGuard(services, other, []).key


def test_a_look_at_the_rights_costs_little(desk: Server) -> None:
    """Tens of microseconds: a thousand streams look twice a second."""
    watched = Watched(app_id=APP, entity="deals", where={"stage": "Won"})
    actor = Actor(user_id=desk.admin.id, username="admin")
    watch = desk.run(desk.services.get(WATCHES).open, actor, watched)

    async def look() -> float:
        began = time.thread_time()
        for _ in range(1000):
            assert await watch.find_end(actor) is None
        return time.thread_time() - began

    assert min(desk.run(look) for _ in range(3)) < 0.5
