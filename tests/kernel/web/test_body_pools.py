"""Bodies of anonymous callers that are in memory count apart from those of users."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.responses import Response

from kernel.errors import Unavailable
from kernel.web.bodies import Bodies


class Sent:
    """A request whose body has a first piece, and a last one when `finish` is set."""

    def __init__(self, user_id: str | None, size: int, finish: anyio.Event) -> None:
        self.user_id = user_id
        self._pieces = [bytes(size), b""]
        self._finish = finish

    async def receive(self) -> dict[str, Any]:
        if len(self._pieces) == 1:
            await self._finish.wait()
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


async def handled(bodies: Bodies, request: Sent) -> Response:
    async def handle(body: bytes) -> Response:
        return Response()

    async def again() -> None:
        pass

    return await bodies.read_and_handle(request.user_id, request.receive, 1000, handle, again)


async def test_unfinished_bodies_of_anonymous_callers_keep_no_user_out() -> None:
    bodies, finish = Bodies(limit=300, free_bytes=0), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handled, bodies, Sent(None, 100, finish))
        await anyio.sleep(0.01)
        with pytest.raises(Unavailable):
            await handled(bodies, Sent(None, 10, finish))
        for user in ("ann", "bob"):  # half of all each, as if there were no others
            tasks.start_soon(handled, bodies, Sent(user, 150, finish))
        await anyio.sleep(0.01)
        with pytest.raises(Unavailable):
            await handled(bodies, Sent("eve", 10, finish))
        finish.set()


async def test_unfinished_bodies_of_anonymous_callers_are_few_however_small() -> None:
    bodies, finish = Bodies(limit=3000, free_bytes=50), anyio.Event()  # 1000 for them, 200 for each
    async with anyio.create_task_group() as tasks:
        for size in (0, 1, 1, 40, 150):
            tasks.start_soon(handled, bodies, Sent(None, size, finish))
        await anyio.sleep(0.01)
        with pytest.raises(Unavailable):
            await handled(bodies, Sent(None, 1, finish))
        for _ in range(20):
            tasks.start_soon(handled, bodies, Sent("ann", 1, finish))
        await anyio.sleep(0.01)
        finish.set()
    for _ in range(20):  # each place is free again
        assert (await handled(bodies, Sent(None, 1, finish))).status_code == 200


async def test_a_body_that_is_complete_keeps_no_anonymous_caller_out() -> None:
    bodies, finish, go = Bodies(limit=300, free_bytes=25), anyio.Event(), anyio.Event()
    finish.set()

    async def handle(body: bytes) -> Response:
        await go.wait()
        return Response()

    async def again() -> None:
        pass

    async with anyio.create_task_group() as tasks:
        for _ in range(5):  # one at a time may be unfinished
            sent = Sent(None, 10, finish)
            tasks.start_soon(
                bodies.read_and_handle, sent.user_id, sent.receive, 1000, handle, again
            )
            await anyio.sleep(0.01)
        go.set()
