"""What a route is; requests, query parameters and replies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import starlette.requests
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.contracts.access import Grant, Needs
from kernel.contracts.base import Actor
from kernel.errors import BadRequest

__all__ = [
    "MAX_BODY", "Message", "Request", "Response", "Route", "limit_of", "one_of", "reply",
    "stream_reply", "whole_number",
]  # fmt: skip

MAX_BODY = 50_000_000
JSON = b"application/json"

Handler = Callable[..., Awaitable[Response]]
_encode = msgspec.json.Encoder().encode


class Route(msgspec.Struct, frozen=True):
    """One method on one path: `Route("POST", "/api/v1/things/{id}", handler, needs=ANY_USER)`.

    With `body` the handler is `async def (request, body)` and gets the decoded JSON, without it
    `async def (request)`. `needs` is checked before the body is read, and so is `admit`, for what
    no `needs` expresses: `async def (request)`, which raises Forbidden. Only with `workers` a
    worker may call it on behalf of a user (see `Delegation`); others get 403.

    The rest documents the API and costs a request nothing: `returns` is the type of the reply's
    JSON and `status` its code, `query` a Struct with a field for each query parameter, `errors`
    the statuses of errors that do not follow from the rest, `openapi` members that replace those
    of the operation in an OpenAPI document.
    """

    method: str
    path: str
    handler: Handler
    needs: Needs
    body: Any = None
    max_body: int = MAX_BODY
    returns: Any = None
    status: int = 200
    query: type[msgspec.Struct] | None = None
    errors: tuple[int, ...] = ()
    openapi: Mapping[str, Any] = {}
    admit: Callable[..., Awaitable[None]] | None = None
    workers: bool = False


class Message(msgspec.Struct, frozen=True):
    """The reply of a route that acts: a sentence that says what was done."""

    message: str


class Request(starlette.requests.Request):
    """A request that has passed the guard of its route."""

    @property
    def actor(self) -> Actor:
        """The caller; on a public route an actor without an id."""
        return self.scope["caudex.actor"]

    @property
    def grant(self) -> Grant:
        """The result of the route's access check."""
        return self.scope["caudex.grant"]

    @property
    def request_id(self) -> str:
        """The id in the reply, every log line and every audit row."""
        return self.scope["caudex.request_id"]

    @property
    def address(self) -> str:
        """The client's address, behind trusted proxies."""
        return self.scope["caudex.address"]

    def path(self, name: str) -> str:
        """Return a path parameter."""
        return self.scope["path_params"][name]

    def query(self) -> dict[str, str]:
        """Return the query parameters, each given once. Raises BadRequest."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=600
            )
        except ValueError:
            raise BadRequest("the query string is not valid") from None
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadRequest("a query parameter is given twice")
        if any("\0" in text for pair in pairs for text in pair):
            raise BadRequest("text must not contain the character U+0000")
        return found


class JSONReply(Response):
    """JSON: a value to encode, or bytes that PostgreSQL made."""

    media_type = "application/json"

    def __init__(
        self, value: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = value if isinstance(value, bytes) else _encode(value)
        self.raw_headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(self.body))]
        if headers:
            for name, text in headers.items():
                self.raw_headers.append((name.encode("latin-1"), text.encode("latin-1")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply; without ASGI messages where no middleware of a plugin is between."""
        whole = getattr(send, "send_whole", None)  # of the edge, see `kernel.web.middleware`
        if whole is None or not whole(self.status_code, self.raw_headers, self.body):
            await super().__call__(scope, receive, send)


class _Streamed(StreamingResponse):
    """A reply that sends no body after a HEAD."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            await super().__call__(scope, receive, send)
            return
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        await send({"type": "http.response.body", "body": b""})


def reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return JSONReply(value, status, headers)


def stream_reply(chunks: AsyncIterator[bytes], media_type: str = "application/json") -> Response:
    """Answer piece by piece; an error on the way aborts the connection."""
    return _Streamed(chunks, media_type=media_type)


def limit_of(text: str | None, default: int, maximum: int = 1000) -> int:
    """Read a `limit` parameter: above the maximum it is the maximum. Raises BadRequest."""
    return default if text is None else min(whole_number("limit", text, minimum=1), maximum)


def whole_number(name: str, text: str, *, minimum: int = 0, maximum: int = 2**63 - 1) -> int:
    """Read a whole number of a query parameter. Raises BadRequest."""
    if not re.fullmatch(r"[0-9]{1,400}", text) or not minimum <= int(text):
        raise BadRequest(f"{name} must be a whole number of at least {minimum}")
    return min(int(text), maximum)


def one_of(name: str, text: str, options: Sequence[str]) -> str:
    """Read a parameter with a closed set of values. Raises BadRequest."""
    if text not in options:
        raise BadRequest(f"{name} must be one of {', '.join(options)}")
    return text
