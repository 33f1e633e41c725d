"""The loops of the service over statements that fail, hang or come too late."""

from contextlib import asynccontextmanager

import anyio
import msgspec
import psycopg
import pytest

from kernel.public import BadRequest, LogLine, Unavailable
from kernel.toolkit.tasks import Tasks
from plugins.logs import store
from plugins.logs.config import LogsConfig
from plugins.logs.events import BATCH_SIZE
from plugins.logs.service import LogsService
from tests.waiting import until

CORRUPT = psycopg.errors.DataCorrupted("invalid page in block 0")


class Tx:
    """A transaction that notes the lines that are inserted."""

    def __init__(self, lines):
        self._lines = lines

    async def execute(self, query, *params):
        if query == store._INSERT:
            self._lines += [line["message"] for line in msgspec.json.decode(params[0])]
        return b"0"

    async def lock(self, *names, skip=False):
        return True

    async def publish(self, topic, payload=""):
        pass


class Statements:
    """STATEMENTS that fails with each error in `trouble`, then works; `rows` can be read."""

    def __init__(self):
        self.lines = []
        self.rows = []
        self.trouble = []
        self.begun = anyio.Event()
        self.seconds = 0.0

    async def run(self, actor, fn):
        self.begun.set()
        self._meet()
        await anyio.sleep(self.seconds)
        return await fn(Tx(self.lines))

    async def fetch(self, query, *params, custom_plan=False):
        return b"0"

    async def fetch_all(self, query, *params, custom_plan=False):
        if query == store._APPS:
            return []
        self._meet()
        return [msgspec.json.encode(row) for row in self.rows if row.id > params[3]]

    def _meet(self):
        if self.trouble:
            raise self.trouble.pop(0)


@pytest.fixture
def statements():
    return Statements()


@asynccontextmanager
async def running(statements):
    """A service that runs."""
    service = LogsService(LogsConfig(), statements)
    service._intake.batcher.delay = 0.01
    async with service.running():
        await anyio.sleep(0.02)
        statements.begun = anyio.Event()
        yield service


def row(number, message=""):
    return LogLine(id=number, level="info", message=message or str(number), ts="t")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [CORRUPT, RuntimeError("?"), BadRequest("no")])
async def test_lines_that_cannot_be_stored_end_no_server(statements, trouble):
    async with running(statements) as service:
        statements.trouble = [trouble]
        service.write("app", "info", "lost")
        await until(lambda: not statements.trouble)
        service.write("app", "info", "kept")
        await until(lambda: statements.lines == ["kept"])


@pytest.mark.slow
async def test_a_fault_of_the_database_is_no_busy_loop(statements):
    async with running(statements) as service:
        statements.trouble = [CORRUPT, CORRUPT]
        service.write("app", "info", "lost")
        await until(lambda: len(statements.trouble) == 1)
        service.write("app", "info", "waits")
        await anyio.sleep(0.1)
        assert len(statements.trouble) == 1


@pytest.mark.slow
async def test_lines_wait_while_the_database_is_away(statements):
    async with running(statements) as service:
        statements.trouble = [Unavailable("away"), Unavailable("away")]
        for message in ("one", "two"):
            service.write("app", "info", message)
        await until(lambda: statements.lines == ["one", "two"])


async def test_lines_of_an_app_that_goes_while_they_wait_for_a_connection_are_not_stored(
    statements,
):
    async with running(statements) as service:
        statements.seconds = 0.2
        for app in ("went", "stays"):
            service.write(app, "info", app)
        await statements.begun.wait()
        service._intake.drop("went")
        await until(lambda: statements.lines)
    assert statements.lines == ["stays"]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [CORRUPT, RuntimeError("?"), Unavailable("away")])
async def test_lines_that_cannot_be_read_end_no_server_and_are_read_later(statements, trouble):
    async with running(statements) as service, service.follow("app", 0) as following:
        await anyio.sleep(0.05)
        statements.rows = [row(1)]
        statements.trouble = [trouble]
        await service.on_notification("app")
        with anyio.fail_after(60):
            assert await ids(following, 1) == [1]
        assert not statements.trouble
        await following.aclose()


@asynccontextmanager
async def sweeping(service):
    """A service that sweeps in the background, more often than the plugin lets it."""

    async def sweep():
        await service.sweep()

    tasks = Tasks("logs")
    tasks.every(0.02, sweep, "sweep")
    async with anyio.create_task_group() as group:
        group.start_soon(tasks.run, None)
        yield
        group.cancel_scope.cancel()


async def test_a_sweep_that_fails_ends_no_server(statements):
    statements.trouble = [CORRUPT, RuntimeError("?")]
    async with running(statements) as service, sweeping(service):
        await until(lambda: not statements.trouble)


async def test_a_batch_that_is_under_way_when_the_server_ends_is_stored_once(statements):
    statements.seconds = 0.1
    async with running(statements) as service:
        await anyio.sleep(0.2)
        service.write("app", "info", "last")
        await statements.begun.wait()
    assert statements.lines == ["last"]


@pytest.mark.slow
async def test_a_batch_that_waits_for_the_database_when_the_server_ends_is_stored(statements):
    async with running(statements) as service:
        statements.trouble = [Unavailable("away")]
        service.write("app", "info", "last")
        await until(lambda: not statements.trouble)
        service.write("app", "info", "very last")
    assert statements.lines == ["last", "very last"]


@pytest.mark.slow
async def test_a_database_that_hangs_does_not_keep_the_server_from_ending(statements):
    statements.seconds = 0.01
    async with running(statements) as service:
        await anyio.sleep(0.1)
        statements.seconds = 10.0
        service.write("app", "info", "last")
        await statements.begun.wait()
        before = anyio.current_time()
    assert 0.3 < anyio.current_time() - before < 8
    assert statements.lines == []


async def test_who_comes_while_the_server_stops_is_refused_also_after_a_wait(statements):
    class Slow(Statements):
        async def fetch(self, query, *params, custom_plan=False):
            await anyio.sleep(0.1)
            return b"0"

    service = LogsService(LogsConfig(), Slow())

    async def stop():
        await anyio.sleep(0.05)
        service.end_readers()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        with pytest.raises(Unavailable):
            async with service.follow("app", 0):
                pass


async def test_who_catches_up_when_the_server_stops_gets_a_last_line_and_no_gap(statements):
    statements.rows = [row(number, "x" * BATCH_SIZE) for number in (1, 2, 3)]

    async def last_id(query, *params, custom_plan=False):
        return b"3"

    statements.fetch = last_id
    service = LogsService(LogsConfig(), statements)
    async with service.follow("app", 0) as following:
        assert await ids(following, 1) == [1]
        service.end_readers()
        left = [line async for batch in following for line in batch.lines]
    assert [(line.id, line.level) for line in left] == [(0, "system")]


async def test_lines_that_come_while_the_first_reader_does_are_not_missed(statements):
    """Their news is reported while no one listens yet."""
    async with running(statements) as service:
        statements.rows = [row(1)]
        async with service.follow("app", 0) as following:
            assert await ids(following, 1) == [1]
            await following.aclose()


class Newest(Statements):
    """Knows the newest id, and gives lines up to where a reader asks for."""

    async def fetch(self, query, *params, custom_plan=False):
        return str(max((row.id for row in self.rows), default=0)).encode()

    async def fetch_all(self, query, *params, custom_plan=False):
        found = await super().fetch_all(query, *params)
        return [raw for raw in found if msgspec.json.decode(raw)["id"] <= params[4]]


async def ids(following, count):
    """The ids of the next lines, as far as they come in whole batches."""
    found = []
    with anyio.fail_after(60):
        while len(found) < count:
            found += [line.id for line in (await anext(following)).lines]
    return found


@pytest.mark.parametrize("after", [5, 8, 10])
async def test_who_comes_while_the_feed_lags_gets_each_line_once(after):
    """The tail that a reader had before is newer than what the feed has come to."""
    statements = Newest()
    service = LogsService(LogsConfig(), statements)
    statements.rows = [row(number) for number in range(1, 6)]
    async with service.follow("app", 5):
        statements.rows += [row(number) for number in range(6, 11)]
        async with service.follow("app", after) as second, anyio.create_task_group() as tasks:
            got = []

            async def read():
                got.extend(await ids(second, 11 - after))

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            statements.rows.append(row(11))
            await service._catch_up("app")
        assert got == [*range(after + 1, 12)]
        await second.aclose()


@pytest.mark.parametrize("after", [2**62, 1000], ids=["live only", "of another database"])
async def test_an_id_that_there_is_not_yet_means_what_comes_from_now_on(after):
    """A client may have read ahead of a backup that was restored since."""
    statements = Newest()
    service = LogsService(LogsConfig(), statements)
    statements.rows = [row(1)]
    async with service.follow("app", 0):
        statements.rows.append(row(2))
        async with service.follow("app", after) as second:
            statements.rows.append(row(3))  # before the reader's first look
            await service._catch_up("app")
            statements.rows.append(row(4))
            await service._catch_up("app")
            assert await ids(second, 2) == [3, 4]
            await second.aclose()
