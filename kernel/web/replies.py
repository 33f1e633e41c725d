"""Replies: JSON, streams, and the link to the next page."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.web.requests import Request
from kernel.web.scope import headers_of

__all__ = [
    "Response", "StreamedReply", "next_page", "reply", "reply_if_changed", "stream_reply",
]  # fmt: skip

JSON = b"application/json"

_encode = msgspec.json.Encoder().encode


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


class _PiecesReply(StreamingResponse):
    """A body of pieces, with the head first: an error on the way aborts the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await _send_head(self, send)
        else:
            await super().__call__(scope, receive, send)


class StreamedReply(StreamingResponse):
    """A body of any length. An error before its first piece is still an ordinary reply.

    `open_source` is entered when the reply begins, and left however it ends. For pieces that are
    there already, without anything to open or to close, there is `stream_reply`.
    """

    def __init__(
        self,
        open_source: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]],
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self._open_source = open_source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and close its source; a HEAD gets the head of a GET."""
        async with self._open_source() as pieces:
            first = await anext(pieces, b"")
            if scope["method"] == "HEAD":
                await _send_head(self, send)
                return
            self.body_iterator = _prepend(first, pieces)
            await super().__call__(scope, receive, send)


async def _send_head(response: Response, send: Send) -> None:
    """Send a reply without its body, as HEAD wants it."""
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": b""})


async def _prepend(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return JSONReply(value, status, headers)


def reply_if_changed(request: Request, value: object) -> Response:
    """Answer with JSON and its `ETag`, or with a 304 where `If-None-Match` names it.

    For what clients ask for again and again. The value is made each time; it is not sent.
    """
    response = JSONReply(value)
    digest = hashlib.blake2b(response.body, digest_size=16).hexdigest()
    tag = f'W/"{digest}"'.encode()
    known_tags = headers_of(request.scope).get(b"if-none-match", b"")
    if digest.encode() in known_tags:
        return Response(status_code=304, headers={"etag": tag.decode()})
    response.raw_headers.append((b"etag", tag))
    return response


def next_page(request: Request, limit: int | None, ids: Sequence[str]) -> dict[str, str]:
    """Return the header `Link` with the address of the next page, where a page of `ids` is full.

    The query parameters of the list are `limit` and `after`, the id of the last row.
    """
    if limit is None or len(ids) < limit:
        return {}
    path = request.public_path(request.scope["path"])
    return {"link": f'<{path}?limit={limit}&after={ids[-1]}>; rel="next"'}


def stream_reply(chunks: AsyncIterator[bytes], media_type: str = "application/json") -> Response:
    """Answer piece by piece; an error aborts the connection, also before the first piece.

    `StreamedReply` opens and closes the source of its pieces, and reports an early error.
    """
    return _PiecesReply(chunks, media_type=media_type)
