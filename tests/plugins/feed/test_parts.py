"""Parts of feeds by themselves: places, shared events, and the look at rights."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from kernel.public import (
    WATCHES,
    Actor,
    BadRequest,
    ChangesPage,
    CommittedChange,
    Unauthenticated,
    Unavailable,
    Verdict,
    Watched,
)
from kernel.testing import Server
from plugins.feed import guard as guard_module
from plugins.feed import stream as stream_module
from plugins.feed.chunks import MAX_BYTES, SharedChunks
from plugins.feed.guard import SharedGuards, StreamGuard
from plugins.feed.places import Place, read_place
from plugins.feed.stream import FeedStream, Pulse
from plugins.feed.subscribed import NamedWatch, Subscribed
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


class Judge:
    """A watch that has an event for each change but the `unwanted` ones."""

    def __init__(self, key: int, *unwanted: int) -> None:
        self.key = key
        self.watched = Watched(app_id=APP, entity="deals")
        self._unwanted = unwanted

    async def judge(self, changes: Sequence[CommittedChange]) -> list[Verdict | None]:
        return [
            None if item.id in self._unwanted else Verdict("enter", item.new) for item in changes
        ]


def subscribe_all(judges: Sequence[Any], chunks: SharedChunks) -> Subscribed:
    changes: Any = None
    watches = [NamedWatch(f"n{number}", judge) for number, judge in enumerate(judges)]
    return Subscribed(watches, changes, chunks)


FIRST = Place("p0")


async def write_all(
    subscribed: Subscribed, page: ChangesPage, place: Place = FIRST
) -> tuple[list[tuple[int, str]], list[str], int]:
    """Return the events as (record, subscription), their places, and the bytes of a chunk at most.

    As of a stream that reads one page and then stops.
    """

    async def follow() -> AsyncIterator[ChangesPage]:
        yield page

    events: list[tuple[int, str]] = []
    places: list[str] = []
    largest = 0
    async for chunk in FeedStream(subscribed, place).write(follow()):
        largest = max(largest, len(chunk))
        for block in chunk.split(b"\n\n"):
            if not block.startswith(b"event: enter"):
                continue
            _, identity, data = block.split(b"\n")
            decoded = msgspec.json.decode(data.removeprefix(b"data: "))
            events.append((int(decoded["id"]), decoded["subscription"]))
            places.append(identity.removeprefix(b"id: ").decode())
    return events, places, largest


async def test_a_chunk_has_a_bound_in_bytes() -> None:
    """Of 50 subscriptions of one entity, as of an import of large records."""
    record = b'{"title":"%b"}' % (b"x" * 30_000)
    page = ChangesPage(
        changes=[change(number, new=record) for number in range(200)], position="p", complete=True
    )
    subscribed = subscribe_all([Judge(number) for number in range(50)], SharedChunks())
    events, _, largest = await write_all(subscribed, page)
    assert events == [(number, f"n{name}") for number in range(200) for name in range(50)]
    assert largest < 2_000_000


async def test_a_stream_goes_on_behind_each_event_of_a_large_change() -> None:
    """They are sent one by one. The last subscription has no event of the second change."""
    record = b'{"title":"%b"}' % (b"x" * 400_000)
    page = ChangesPage(
        changes=[change(number, new=record) for number in range(1, 4)], position="p3", complete=True
    )
    chunks = SharedChunks()
    subscribed = subscribe_all([Judge(0), Judge(1), Judge(2, 2)], chunks)
    with chunks.joined(subscribed.key), chunks.joined(subscribed.key):
        events, places, largest = await write_all(subscribed, page)
        again = await write_all(subscribed, page)
    assert len(events) == 8
    assert again == (events, places, largest), "streams that are equal share them"
    for count, text in enumerate(places, start=1):
        place = read_place(text, "since")
        first = int(place.position.removeprefix("p"))
        rest = ChangesPage(changes=page.changes[first:], position="p3", complete=True)
        assert (await write_all(subscribed, rest, place))[0] == events[count:], text


async def test_a_large_change_that_cannot_be_judged_is_lost_once() -> None:
    class Unknown(Judge):
        async def judge(self, changes: Sequence[CommittedChange]) -> list[Verdict | None]:
            return [Verdict("unknown") for _ in changes]

    record = b'{"title":"%b"}' % (b"x" * 400_000)
    page = ChangesPage(changes=[change(1, new=record)], position="p1", complete=True)
    subscribed = subscribe_all([Judge(0), Unknown(1), Unknown(2), Judge(3)], SharedChunks())

    pieces = [piece async for piece in subscribed.write_events(page.changes, Place("p0"))]
    names = [block.split(b"\n")[0] for block in b"".join(pieces).split(b"\n\n") if block]
    assert names == [b"event: enter", b"event: resync", b"event: ready"]


async def test_a_heartbeat_keeps_what_a_client_has_of_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The change itself is on a later page."""
    monkeypatch.setattr(stream_module, "JUST_SENT", 0.0)

    async def follow() -> AsyncIterator[ChangesPage]:
        yield ChangesPage(changes=(), position="p0", complete=False)
        yield ChangesPage(changes=(change(1),), position="p1", complete=True)

    subscribed = subscribe_all([Judge(0), Judge(1), Judge(2)], SharedChunks())
    place = Place("p", 2, subscribed.digest, 1)
    text = b"".join([piece async for piece in FeedStream(subscribed, place).write(follow())])
    heartbeat, event = text.split(b"\n\n")[1:3]
    assert heartbeat == b":\nid: %b" % str(place).encode()
    assert b'"subscription":"n2"' in event


def test_an_empty_page_is_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one comes in 14 s: a client would wait for 27."""
    clock = Clock()
    monkeypatch.setattr(stream_module, "time", clock)
    pulse = Pulse()
    ready = ChangesPage(changes=(), position="p1", complete=True)
    assert pulse.write(ready).startswith(b"event: ready\n")
    empty = ChangesPage(changes=(), position="p2", complete=True)
    of_others = ChangesPage(changes=(change(1),), position="p3", complete=True)
    clock.now = 13.0
    assert pulse.write(of_others) == b"", "each of them would cost a write"
    assert pulse.write(empty) == b":\nid: p2\n\n"
    assert pulse.write(empty) == b""
    clock.now += 14.0
    assert pulse.write(of_others) == b":\nid: p3\n\n"


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


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
