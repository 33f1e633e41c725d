"""A request that has passed its guard, and its body."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
import starlette.requests

from kernel.contracts.access import Grant
from kernel.contracts.base import Actor
from kernel.errors import BadRequest, TooLarge, unwrapped
from kernel.web.scope import ARRIVAL, CALL, Arrival, call_of

__all__ = [
    "Request",
    "find_bearer_token",
    "find_origin",
    "read_body",
    "read_pieces",
    "while_connected",
]

T = TypeVar("T")


class Request(starlette.requests.Request):
    """A request that has passed the guard of its route."""

    @property
    def actor(self) -> Actor:
        """The caller; on a public route an actor without an id, who has no rights."""
        return self.scope[CALL].actor

    @property
    def grant(self) -> Grant:
        """The result of the route's access check."""
        return self.scope[CALL].grant

    @property
    def request_id(self) -> str:
        """The id in the reply, every log line and every audit row."""
        return self.scope[ARRIVAL].request_id

    @property
    def address(self) -> str:
        """The client's address, behind trusted proxies."""
        return self.scope[ARRIVAL].address

    def public_path(self, path: str) -> str:
        """Return a path of this server as a client writes it, with the prefix of a proxy."""
        return self.scope.get("root_path", "") + path

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield the pieces of the body. Raises RuntimeError after the end of the request."""
        arrival: Arrival | None = self.scope.get(ARRIVAL)
        if arrival is not None and arrival.has_ended:
            raise RuntimeError("the request has ended: read its body before the reply")
        async for piece in super().stream():
            yield piece

    def path(self, name: str) -> str:
        """Return a path parameter."""
        return self.scope["path_params"][name]

    def query(self) -> dict[str, str]:
        """Return the query parameters, each given once. Raises BadRequest."""
        try:
            text = self.scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=600)
        except ValueError:
            raise BadRequest("the query string is not valid") from None
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise BadRequest("a query parameter is given twice")
        if any("\0" in text for pair in pairs for text in pair):
            raise BadRequest("text must not contain the character U+0000")
        return parameters


async def read_pieces(request: starlette.requests.Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the pieces of a body within the limit. Raises TooLarge.

    At the end the guard of the route is repeated, as permissions may have changed meanwhile.
    """
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise TooLarge(limit)
        yield piece
    call = call_of(request.scope)
    if call is not None and call.repeat_guard is not None:
        await call.repeat_guard()


async def while_connected(
    request: starlette.requests.Request, work: Callable[[], Awaitable[T]]
) -> T:
    """Run work that only its client waits for, and cancel it once that has left.

    The body was read before. Work in a thread goes on to its next `await`, and a commit to its end.
    """
    with unwrapped():
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            result = await work()
            tasks.cancel_scope.cancel()
            return result
    raise starlette.requests.ClientDisconnect


async def read_body(request: starlette.requests.Request, limit: int) -> bytes:
    """Read a whole body within its limit. Raises TooLarge."""
    return b"".join([piece async for piece in read_pieces(request, limit)])


def find_bearer_token(request: Request) -> str:
    """Return the token of `Authorization: Bearer` (RFC 6750); empty where a request has none."""
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        return ""
    return token.strip()


def find_origin(request: Request, configured: str) -> str:
    """Return what an absolute address of this server begins with, for a client to keep.

    Behind a proxy that ends TLS only a page of this host says that it is https, by `Origin`.
    """
    if configured:
        return configured
    host = request.url.netloc
    origin = request.headers.get("origin", "")
    if origin in (f"https://{host}", f"http://{host}"):
        return origin
    return f"{request.url.scheme}://{host}"
