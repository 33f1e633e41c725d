"""Replies piece by piece: what a HEAD gets of them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from caudex import Response, StreamedReply, stream_reply


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


@asynccontextmanager
async def opened() -> AsyncGenerator[AsyncIterator[bytes]]:
    yield pieces()


REPLIES = {
    "opens a source": lambda: StreamedReply(opened, "text/plain"),
    "has its pieces": lambda: stream_reply(pieces(), "text/plain"),
}


def messages_of(response: Response, method: str) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await anyio.sleep_forever()

    scope = {"type": "http", "method": method, "asgi": {"spec_version": "2.4"}}
    anyio.run(response, scope, receive, send)
    return sent


@pytest.mark.parametrize("name", REPLIES)
def test_a_head_has_the_head_of_a_get(name: str) -> None:
    heads: list[Any] = []
    bodies: list[bytes] = []
    for method in ("GET", "HEAD"):
        response = REPLIES[name]()
        response.status_code = 206
        head, *rest = messages_of(response, method)
        heads.append(head)
        bodies.append(b"".join(message["body"] for message in rest))
    assert heads[0] == heads[1]
    assert heads[1]["status"] == 206
    assert bodies == [b"ab", b""]
