"""Reads of a replica: without one, and with one that is fresh, behind or away."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from psycopg.errors import QueryCanceled, SerializationFailure

from kernel.public import POOL, READS, RECORDS, REGISTRY, STATEMENTS, BadRequest, Unavailable
from kernel.testing import Server
from kernel.web.scope import begin_request
from plugins.data.sources.shared_reader import SharedReader
from plugins.replica.monitor import Monitor
from plugins.replica.positions import ACCEPTED, Accepted, PositionMiddleware, to_number
from plugins.replica.reads import ReadsService

pytestmark = pytest.mark.anyio


class Fake:
    """A database that is at a position, or fails."""

    def __init__(self, name: bytes, position: str = "0/10") -> None:
        self.name = name
        self.position = position
        self.error: Exception | None = None
        self.asked = 0

    async def fetch(
        self, query: Any, *params: Any, custom_plan: bool = False, quick: bool = True
    ) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.position.encode() if b"lsn" in query else self.name


def made(primary: Fake, replica: Fake, max_lag: float = 10.0) -> tuple[Monitor, ReadsService]:
    monitor = Monitor(primary, replica, max_lag)  # type: ignore[arg-type]
    return monitor, ReadsService(monitor, primary, replica)  # type: ignore[arg-type]


def because(cause: Exception) -> Unavailable:
    error = Unavailable("it failed")
    error.__cause__ = cause
    return error


def test_without_a_replica_nothing_is_added_to_a_request(server: Server) -> None:
    statements, reads = server.services.get(STATEMENTS), server.services.get(READS)
    assert reads.prompt is statements
    assert reads.large is statements
    assert server.services.get(POOL).replica is None
    records: Any = server.services.get(RECORDS)
    sources = records.reads.lists._sources
    assert isinstance(sources.prompt, SharedReader)
    assert sources.large is statements
    assert "replica" not in {plugin for plugin, _ in server.services.get(REGISTRY).middleware}
    body = {"username": "ada", "password": "Str0ngPass!x"}
    answer = server.http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201
    assert "caudex-position" not in answer.headers


async def test_a_fresh_replica_answers_large_reads_of_requests() -> None:
    monitor, reads = made(Fake(b"primary"), Fake(b"replica"))
    await monitor.check()
    assert await reads.large.fetch(b"q") == b"primary"  # of no request: a worker, a task
    token = ACCEPTED.set(Accepted(0, any=False))
    assert await reads.large.fetch(b"q") == b"replica"
    assert await reads.prompt.fetch(b"q") == b"primary"
    ACCEPTED.set(Accepted(0, any=True))
    assert await reads.prompt.fetch(b"q") == b"replica"
    assert [each.value for each in reads.measure()] == [2, 0]
    ACCEPTED.reset(token)


async def test_a_replica_that_is_away_is_asked_again_after_a_check_only() -> None:
    primary, replica = Fake(b"primary"), Fake(b"replica")
    monitor, reads = made(primary, replica)
    await monitor.check()
    token = ACCEPTED.set(Accepted(0, any=False))
    replica.error = Unavailable("away")
    assert await reads.large.fetch(b"q") == b"primary"
    asked = replica.asked
    assert await reads.large.fetch(b"q") == b"primary"
    assert replica.asked == asked
    replica.error = None
    await monitor.check()
    assert await reads.large.fetch(b"q") == b"replica"
    ACCEPTED.reset(token)


async def test_a_read_that_takes_too_long_is_not_repeated_on_the_primary() -> None:
    primary, replica = Fake(b"primary"), Fake(b"replica")
    monitor, reads = made(primary, replica)
    await monitor.check()
    await monitor.has(0)
    token = ACCEPTED.set(Accepted(0, any=False))
    replica.error = because(QueryCanceled())
    with pytest.raises(Unavailable):
        await reads.large.fetch(b"q")
    replica.error = because(SerializationFailure())  # a conflict with the replay
    assert await reads.large.fetch(b"q") == b"primary"
    ACCEPTED.reset(token)


async def test_waiting_requests_ask_for_the_position_together() -> None:
    primary, replica = Fake(b"primary"), Fake(b"replica")
    monitor, _ = made(primary, replica)
    await monitor.check()
    await monitor.has(0)
    before, found = replica.asked, list[bool]()

    async def wait() -> None:
        found.append(await monitor.has(0x20))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(wait)
        await anyio.sleep(0.3)
        assert replica.asked - before < 30
        replica.position = "0/20"
    assert found == [True] * 50


async def test_a_replica_that_is_too_far_behind_is_not_used() -> None:
    primary, replica = Fake(b"primary"), Fake(b"replica")
    monitor, _ = made(primary, replica, max_lag=0.2)
    await monitor.check()
    assert await monitor.has(0)
    primary.position = "1/0"
    await monitor.check()  # waits for max_lag
    assert not await monitor.has(0)


async def test_a_write_whose_position_cannot_be_read_is_seen_on_the_primary() -> None:
    primary, replica = Fake(b"primary"), Fake(b"replica")
    monitor, _ = made(primary, replica)
    await monitor.check()
    sent = list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201})

    async def keep(message: Any) -> None:
        sent.append(message)

    serve: Any = PositionMiddleware.make(lambda: primary)(app)  # type: ignore[arg-type,return-value]
    scope: Any = {"type": "http", "method": "POST", "headers": []}
    begin_request(scope, request_id="1", address="")
    await serve(scope, None, keep)
    primary.error = Unavailable("a failover")
    await serve(scope, None, keep)
    primary.error = None
    [known, unknown] = [dict(message["headers"])[b"caudex-position"] for message in sent]
    assert known == b"0/10"
    assert await monitor.has(to_number(known))
    began = anyio.current_time()
    assert not await monitor.has(to_number(unknown))
    assert anyio.current_time() < began + 0.5


@pytest.mark.parametrize("text", [b"", b"0", b"0/0/0", b"g/0", b"123456789/0", b" 0/0"])
def test_a_position_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        to_number(text)
    assert to_number(b"1/B") == 0x1_0000_000B
