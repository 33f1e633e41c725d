"""Requests with their query parameters and streamed bodies, and replies."""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
import msgspec
import starlette.requests
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.contracts.access import Grant
from kernel.contracts.base import Actor
from kernel.errors import BadRequest, TooLarge, unwrapped
from kernel.web.scope import ARRIVAL, CALL, Arrival, call_of

__all__ = [
    "Request",
    "Response",
    "next_page",
    "one_of",
    "preferred_type",
    "read_body",
    "read_limit",
    "read_pieces",
    "reply",
    "stream_reply",
    "while_connected",
    "whole_number",
]  # fmt: skip

T = TypeVar("T")
JSON = b"application/json"
WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
"""The parameter `q` of a media range (RFC 9110, 12.4.2)."""

_encode = msgspec.json.Encoder().encode


class Request(starlette.requests.Request):
    """A request that has passed the guard of its route."""

    @property
    def actor(self) -> Actor:
        """The caller; on a public route an actor without an id."""
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


def read_limit(text: str | None, default: int, maximum: int = 1000) -> int:
    """Read a `limit` parameter, capped at the maximum. Raises BadRequest."""
    if text is None:
        return default
    return min(whole_number("limit", text, minimum=1), maximum)


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


class MediaRange(msgspec.Struct, frozen=True):
    """A part of an `Accept` header: media types, as `text/csv` or `text/*`, and their weight."""

    name: str
    weight: float

    def measure_fit(self, media_type: str) -> int:
        """Return how exactly the range names a media type: 0 for not at all, 3 for itself."""
        if self.name == media_type:
            return 3
        if self.name == f"{media_type.partition('/')[0]}/*":
            return 2
        return 1 if self.name == "*/*" else 0


def preferred_type(accept: str, offers: Sequence[str]) -> str | None:
    """Return the media type that an `Accept` header prefers (RFC 9110, 12.5.1), None for none.

    The weight `q` decides. Of types with the same weight it is one that the header names itself,
    then the one that it names first, then the first of the offers.
    """
    ranges = list(_media_ranges(accept))
    ranks = dict[str, tuple[float, int, int]]()
    for offer in offers:
        fits = [media_range.measure_fit(offer) for media_range in ranges]
        closest = max(fits, default=0)
        if closest == 0:
            continue
        position = fits.index(closest)  # the most exact range decides, whatever others weigh
        weight = ranges[position].weight
        if weight > 0:
            ranks[offer] = (weight, closest, -position)
    return max(ranks, key=ranks.__getitem__, default=None)


def _media_ranges(accept: str) -> Iterator[MediaRange]:
    """Read the parts of a header; one whose weight is no number from 0 to 1 does not count."""
    for part in accept.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        weights = [text[2:] for text in parameters if text.startswith("q=")]
        if not weights:
            yield MediaRange(name, 1.0)
        elif WEIGHT.fullmatch(weights[0]):
            yield MediaRange(name, float(weights[0]))


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
        """Send the reply, without ASGI messages if no plugin has a middleware."""
        send_whole = getattr(send, "send_whole", None)  # see `kernel.web.sender`
        if send_whole is None or not send_whole(self.status_code, self.raw_headers, self.body):
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


def next_page(request: Request, limit: int | None, ids: Sequence[str]) -> dict[str, str]:
    """Return the header `Link` with the address of the next page, where a page of `ids` is full.

    The query parameters of the list are `limit` and `after`, the id of the last row.
    """
    if limit is None or len(ids) < limit:
        return {}
    path = request.public_path(request.scope["path"])
    return {"link": f'<{path}?limit={limit}&after={ids[-1]}>; rel="next"'}


def stream_reply(chunks: AsyncIterator[bytes], media_type: str = "application/json") -> Response:
    """Answer piece by piece; an error on the way aborts the connection."""
    return _Streamed(chunks, media_type=media_type)
