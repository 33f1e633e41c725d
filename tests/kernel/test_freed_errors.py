"""What a failed call worked with is freed with its error, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import http.client
import weakref
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from kernel.contracts import Actor, hookspecs, server_actor
from kernel.contracts.hookspecs import hookimpl
from kernel.contracts.statements import STATEMENTS, Statements, Transaction
from kernel.errors import BadRequest, ConstraintViolation, KernelError, forget_frames
from kernel.hooks.bus import PluggyBus
from kernel.hooks.plugin import Plugin
from kernel.public import PUBLIC, Request, Response, Route, Services
from kernel.testing import FakeNotifications, MakeServer
from kernel.toolkit.batcher import Batcher
from kernel.toolkit.cache import InvalidatedCache
from tests.garbage import large_in_cycles

TAKEN = "insert into caudex_kernel.leases values ('taken', $1::text, now())"


class Body(str):
    """A text that one can ask whether it is freed."""

    __slots__ = ("__weakref__",)


@pytest.fixture(autouse=True)
def without_collector() -> Generator[None]:
    """Free by reference counts alone."""
    gc.disable()
    yield
    gc.enable()


async def freed(call: Callable[[Body], Awaitable[object]]) -> bool:
    """Whether nothing holds a body once the call with it has failed."""
    body = Body("x" * 1000)
    reference = weakref.ref(body)
    with suppress(KernelError, LookupError):
        await call(body)
        raise AssertionError("the call did not fail")
    del body
    await asyncio.sleep(0.01)  # others that share the error get it
    return reference() is None


@pytest.mark.parametrize("driver", ["pipeline", "kernel"])
def test_the_values_of_a_refused_statement_are_freed(make_server: MakeServer, driver: str) -> None:
    server = make_server({"services": {"statements": driver}})
    statements = server.services.get(STATEMENTS)

    async def single(body: Body) -> None:
        await statements.execute(TAKEN, body)

    async def grouped(body: Body) -> None:
        await statements.execute_grouped("", TAKEN, body)

    async def in_transaction(body: Body) -> None:
        await statements.run(server_actor(), partial(insert, body))

    async def in_savepoint(body: Body) -> None:
        await statements.run(server_actor(), partial(insert_in_part, body))

    async def check() -> list[bool]:
        await statements.execute(TAKEN, "first")
        return [await freed(call) for call in (single, grouped, in_transaction, in_savepoint)]

    assert server.run(check) == [True] * 4


async def insert(body: Body, tx: Transaction) -> None:
    await tx.execute(TAKEN, body)


async def insert_in_part(body: Body, tx: Transaction) -> None:
    async with tx.savepoint():
        await tx.execute(TAKEN, body)


@pytest.mark.parametrize("driver", ["pipeline", "kernel"])
def test_an_error_that_is_handled_frees_its_values(make_server: MakeServer, driver: str) -> None:
    """The transaction goes on, as that of an import does after a row that is refused."""
    server = make_server({"services": {"statements": driver}})
    statements: Statements = server.services.get(STATEMENTS)

    async def work(tx: Transaction) -> bool:
        await tx.execute(TAKEN, "first")
        return await freed(lambda body: insert_in_part(body, tx))

    async def check() -> bool:
        return await statements.run(server_actor(), work)

    assert server.run(check)


async def test_what_a_hook_worked_with_is_freed() -> None:
    """Its await is answered by an error, which the bus throws into it."""

    class Failing(Plugin):
        name = "failing"

        @hookimpl
        async def authenticate(self, request: Any) -> Actor | None:
            await failed_future(request)
            return None

    bus = PluggyBus(hookspecs)
    bus.register(Failing.__new__(Failing), "failing")
    bus.arrange(["failing"])
    assert await freed(lambda body: bus.first(hookspecs.authenticate, request=body))  # type: ignore[arg-type]


async def failed_future(_: Body) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, BadRequest("no"))
    try:
        await future
    finally:
        del future


async def test_the_items_of_a_failed_batch_are_freed() -> None:
    async def flush(_: Sequence[Body]) -> None:
        raise LookupError

    async with Batcher[Body, None](flush).running() as batcher:
        assert await freed(batcher.submit)


async def test_what_a_failed_load_worked_with_is_freed() -> None:
    cache = InvalidatedCache[str, str](FakeNotifications(), "words", size=10)

    async def load(_: Body) -> str:
        await asyncio.sleep(0)
        raise LookupError

    async def waits(body: Body) -> str:
        return await cache.get_or_load("word", partial(load, body))

    found = list[bool]()

    async def note() -> None:
        found.append(await freed(waits))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note)
        tasks.start_soon(note)
    assert found == [True, True]


def test_errors_are_forgotten_with_those_that_led_to_them() -> None:
    def fail(body: Body) -> None:
        held: BaseException | None = None  # a cycle
        try:
            raise ExceptionGroup(body, [LookupError()])
        except ExceptionGroup as error:
            held = error
        raise BadRequest("no") from held

    body = Body("x")
    reference = weakref.ref(body)
    try:
        fail(body)
    except BadRequest as error:
        forget_frames(error)
    del body
    assert reference() is None


class CarelessPlugin(Plugin):
    """Raises what a local variable holds, as handlers of plugins do."""

    name = "careless"

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return [
            Route("POST", "/refused", self.refuse, PUBLIC, dict[str, str]),
            Route("POST", "/failed", self.fail, PUBLIC, dict[str, str]),
        ]

    async def refuse(self, request: Request, body: dict[str, str]) -> Response:
        refusal = ConstraintViolation("no", sqlstate="", table="", column="", constraint="")
        raise refusal

    async def fail(self, request: Request, body: dict[str, str]) -> Response:
        error = LookupError(len(body))
        raise error


@pytest.mark.parametrize(("path", "status"), [("/refused", 400), ("/failed", 500)])
def test_the_body_of_a_careless_handler_is_freed(
    make_server: MakeServer, path: str, status: int
) -> None:
    module = f"{__name__}:CarelessPlugin"
    server = make_server({"plugins": {"careless": {"module": module}}})
    text = "x" * 100_000

    def send() -> None:
        for _ in range(2):  # httpx would keep the body in cycles of its own
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
            connection.request("POST", path, f'{{"text": "{text}"}}')
            assert connection.getresponse().status == status
            connection.close()

    assert large_in_cycles(send, len(text)) == 0
