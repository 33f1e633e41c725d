"""What a handler gets of a request whose body the route decodes."""

from __future__ import annotations

import anyio
import msgspec
import pytest
import starlette.requests
from starlette.types import Message

from kernel.contracts import hookspecs
from kernel.contracts.access import PUBLIC
from kernel.contracts.server import Route
from kernel.errors import BadRequest
from kernel.hooks.bus import PluggyBus
from kernel.hooks.services import ServiceContainer
from kernel.web.replies import Response, reply
from kernel.web.requests import Request, find_bearer_token, while_connected
from kernel.web.routing import RouteTable
from kernel.web.scope import begin_request


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

    table = RouteTable(ServiceContainer(), PluggyBus(hookspecs))
    table.add("notes", Route("POST", "/notes", keep, PUBLIC, Note))
    scope = {
        "type": "http", "method": "POST", "path": "/notes", "query_string": b"", "headers": [],
    }  # fmt: skip
    begin_request(scope, request_id="1", address="")
    await table.handle(scope, receive, send)
    assert sent[-1]["body"] == b'{"text":"hello"}'


class Arriving:
    """A request whose body was read, and whose client leaves at an event."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self._first = True

    async def receive(self) -> Message:
        if self._first:
            self._first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self) -> starlette.requests.Request:
        return starlette.requests.Request({"type": "http"}, self.receive)


async def test_work_ends_when_its_client_has_left() -> None:
    arriving, ended = Arriving(), list[str]()

    async def work() -> None:
        arriving.left.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    with pytest.raises(starlette.requests.ClientDisconnect):
        await while_connected(arriving.request, work)
    assert ended == ["work"]


async def test_work_of_a_client_that_stays_is_done() -> None:
    async def work() -> str:
        await anyio.sleep(0.01)
        return "done"

    assert await while_connected(Arriving().request, work) == "done"


async def test_an_error_of_the_work_is_raised_as_itself() -> None:
    async def work() -> None:
        await anyio.sleep(0.01)
        raise BadRequest("no")

    with pytest.raises(BadRequest, match="no"):
        await while_connected(Arriving().request, work)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Bearer", ""), ("Basic YTpi", ""), ("", "")],
)
def test_the_token_of_a_bearer_header(header: str, token: str) -> None:
    headers = [(b"authorization", header.encode())]
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": headers})
    assert find_bearer_token(request) == token


def test_a_request_without_a_header_has_no_bearer_token() -> None:
    assert find_bearer_token(Request({"type": "http", "method": "GET", "headers": []})) == ""
