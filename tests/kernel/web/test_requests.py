"""What a handler gets of a request whose body the route decodes."""

from __future__ import annotations

import msgspec
import pytest
from starlette.types import Message

from kernel.contracts import hookspecs
from kernel.contracts.access import PUBLIC
from kernel.contracts.server import Route
from kernel.hooks.bus import HookBus
from kernel.hooks.services import Services
from kernel.web.http import Request, Response, reply
from kernel.web.routing import RouteTable


class Note(msgspec.Struct):
    text: str


async def test_a_body_is_decoded_and_never_read_a_second_time() -> None:
    sent: list[Message] = []

    async def keep(request: Request, body: Note) -> Response:
        with pytest.raises(RuntimeError, match="the handler gets it decoded"):
            await request.body()
        return reply({"text": body.text})

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"text": "hello"}'}

    async def send(message: Message) -> None:
        sent.append(message)

    table = RouteTable(Services(), HookBus(hookspecs))
    table.add("notes", Route("POST", "/notes", keep, PUBLIC, Note))
    scope = {
        "type": "http", "method": "POST", "path": "/notes", "query_string": b"", "headers": [],
        "caudex.headers": {}, "caudex.request_id": "1", "caudex.address": "",
    }  # fmt: skip
    await table.handle(scope, receive, send)
    assert sent[-1]["body"] == b'{"text":"hello"}'
