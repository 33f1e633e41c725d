"""What a route is, and how bytes become Structs and Structs bytes."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import starlette.requests
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message as ASGIMessage
from starlette.types import Receive, Scope, Send

from kernel.contracts.access import Grant, Needs
from kernel.contracts.actor import Actor
from kernel.errors import BadRequest, TooLarge
from kernel.toolkit.limiter import ConcurrencyLimiter

MAX_BODY = 50_000_000
SOON = 1.0
"""Seconds after which a body has taken its time: what its sender may do can have changed."""
AGAIN = "caudex.again"
"""What a scope has to ask the guard of its route once more."""
BODIES = "too many large bodies at once"
MAX_DEPTH = 64
"""Nesting of a JSON body; code that walks it stays far from Python's limit of recursion."""
MAX_QUERY_FIELDS = 600
MAX_VALUES = 1_000_000
"""Brackets and commas of a JSON body outside its texts; 50 MB of `[],` take 1 GB of memory."""
MAX_FAR = 10_000
"""Numbers of a JSON body with an exponent of three digits. For one near the limits of a double the
decoder takes 10 µs, 400 times as long as for another, and blocks all requests (msgspec 0.20).
PostgreSQL prints up to 309 digits of each."""

JSON = b"application/json"
JSON_KIND = re.compile(r"application/(json|[\w.-]+\+json)")

Handler = Callable[..., Awaitable[Response]]
_FAR = re.compile(rb"[eE][+-]?0*[1-9][0-9]{2,}\s*[],}]")
_MARKS = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{},"')
_STEPS = {ord("["): 1, ord("]"): -1, ord(","): 0}
_encode = msgspec.json.Encoder().encode


class Route(msgspec.Struct, frozen=True):
    """One method on one path: `Route("POST", "/api/v1/things/{id}", handler, needs=ANY_USER)`.

    With `body` the handler is `async def (request, body)` and gets the decoded JSON, without it
    `async def (request)`. `needs` is checked before anything of the body is read, and so is what
    `admit` asks where no `needs` says it: `async def (request)`, which raises Forbidden.

    The rest is told to readers of the API and costs a request nothing: `returns` is the type of the
    reply's JSON and `status` its code, `query` a Struct with a field for each query parameter,
    `errors` the statuses of errors that do not follow from the rest, `openapi` members that are
    laid over those of the operation in an OpenAPI document.
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


class Message(msgspec.Struct, frozen=True):
    """The reply of a route that does something: what was done, in words."""

    message: str


class Request(starlette.requests.Request):
    """A request whose caller is known and may enter the route."""

    @property
    def actor(self) -> Actor:
        """Who makes it; on a public route somebody without an id."""
        return self.scope["caudex.actor"]

    @property
    def grant(self) -> Grant:
        """What the access check of the route allows."""
        return self.scope["caudex.grant"]

    @property
    def request_id(self) -> str:
        """The id that the reply, every log line and every audit row carry."""
        return self.scope["caudex.request_id"]

    @property
    def address(self) -> str:
        """The peer's address, beyond trusted proxies."""
        return self.scope["caudex.address"]

    def path(self, name: str) -> str:
        """A path parameter."""
        return self.scope["path_params"][name]

    def query(self) -> dict[str, str]:
        """The query parameters, each given once. Raises BadRequest."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_QUERY_FIELDS,
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
        self.raw_headers = [
            (b"content-type", JSON),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if headers:
            for name, text in headers.items():
                self.raw_headers.append((name.encode("latin-1"), text.encode("latin-1")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, without messages where no middleware of a plugin's stands between."""
        whole = getattr(send, "send_whole", None)  # of the edge, see `kernel.web.middleware`
        if whole is None or not whole(self.status_code, self.raw_headers, self.body):
            await super().__call__(scope, receive, send)


class _Streamed(StreamingResponse):
    """Of a HEAD it sends what stands before the pieces: nobody would take those."""

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


async def read_body(request: starlette.requests.Request, limit: int) -> bytes:
    """Read a body whole, within its limit. Raises TooLarge."""
    return b"".join([piece async for piece in limited(request, limit)])


class Bodies:
    """Bodies that are in memory at the same moment; together they have a bound as well."""

    def __init__(self, most: int = 3 * MAX_BODY, free: int = 64_000) -> None:
        self._free = free
        self._held = ConcurrencyLimiter(most, per_key=(most + 1) // 2, message=BODIES)

    async def handled(
        self,
        request: starlette.requests.Request,
        limit: int,
        handle: Callable[[bytes], Awaitable[Response]],
        again: Callable[[], Awaitable[None]],
    ) -> Response:
        """Read a body whole, and count it until it is handled; `again` asks whether its sender
        still may, where it took its time.

        The first bytes of each are free, so that slow large ones keep no small one out. Of the rest
        one user has half at most, and so have all together who need not say who they are. Raises
        TooLarge, Unavailable.
        """
        # Who reads it again is refused by Starlette then, and does not wait for more for ever.
        request._stream_consumed = True  # pyright: ignore[reportPrivateUsage]
        began = time.monotonic()
        first = await request.receive()
        if first["type"] == "http.request" and not first.get("more_body", False):
            whole: bytes = first.get("body", b"")
            if len(whole) <= min(limit, self._free):  # nearly all come this way
                if time.monotonic() - began > SOON:
                    await again()
                return await handle(whole)
        sender = request.scope["caudex.actor"].user_id
        pieces, size, counted = list[bytes](), 0, 0
        try:
            async for piece in _limited(_pieces(first, request.receive), limit):
                pieces.append(piece)
                size += len(piece)
                more = max(0, size - self._free) - counted
                if more:
                    self._held.take(sender, more)
                    counted += more
            whole = b"".join(pieces)
            pieces.clear()
            await again()
            return await handle(whole)
        finally:
            self._held.give_back(sender, counted)


async def _pieces(message: ASGIMessage, receive: Receive) -> AsyncIterator[bytes]:
    """The pieces of a body whose first message is there. Raises ClientDisconnect."""
    while message["type"] == "http.request":
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
        message = await receive()
    raise ClientDisconnect


async def limited(request: starlette.requests.Request, limit: int) -> AsyncIterator[bytes]:
    """Pass the pieces of a body on while they stay within the limit. Raises TooLarge, and at its
    end what the guard of the route does, if its sender may not any more."""
    async for piece in _limited(request.stream(), limit):
        yield piece
    if (again := request.scope.get(AGAIN)) is not None:
        await again()


async def _limited(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in pieces:
        size += len(chunk)
        if size > limit:
            raise TooLarge(limit)
        yield chunk


def check_content(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what is not plain JSON in UTF-8. Raises BadRequest.

    A page can make a browser post to any server without asking it first, but never as JSON: only
    what comes from no page may leave the content type out.
    """
    default = b"" if b"origin" in headers else JSON
    given = headers.get(b"content-type", default)
    if given != JSON:
        kind, _, parameters = given.decode("latin-1").lower().partition(";")
        if not JSON_KIND.fullmatch(kind.strip()):
            raise BadRequest("the content type must be application/json")
        charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
        if charset and charset[1] not in ("utf-8", "utf8"):
            raise BadRequest("JSON must be in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise BadRequest("a content encoding is not accepted")


def decode(raw: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Decode JSON strictly. Raises BadRequest that names the wrong member."""
    if b"\\u0000" in raw and b"\\u0000" in raw.replace(b"\\\\", b""):
        raise BadRequest("text must not contain the character U+0000")
    _check_structure(raw)
    if raw.count(b",") >= MAX_FAR and len(_FAR.findall(raw)) > MAX_FAR:
        parts = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        if len(_FAR.findall(b"".join(parts[::2]))) > MAX_FAR:  # outside texts
            raise BadRequest(f"the JSON has more than {MAX_FAR} numbers beyond 1e±99")
    try:
        if not raw.isascii():
            _check_utf8(raw)
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise BadRequest(_in_words(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("the request body is not valid JSON") from None


def _check_utf8(raw: bytes) -> None:
    """Check all members, as the decoder skips unknown ones. Raises UnicodeDecodeError.

    It works by parts: one text of the whole body would take four times the memory.
    """
    part = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), 2**16):
        part.decode(raw[start : start + 2**16])
    part.decode(b"", final=True)


def _check_structure(raw: bytes) -> None:
    """Refuse JSON that is too deep or has too many values, before it is decoded.

    It uses operations on the whole text only: a loop over 50 MB would block other requests.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH and raw.count(b",") <= MAX_VALUES:
        return
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = raw.translate(_MARKS, _NO_MARKS)
    if marks.count(b'"') > 4 * MAX_VALUES:
        raise BadRequest(f"the JSON has more than {MAX_VALUES} values")
    bare = b"".join(marks.replace(b'""', b"").split(b'"')[::2])  # outside texts
    closing = bare.count(b"]")
    if closing > len(bare) // 2:  # more than open; without them the walk below is short
        raise BadRequest("the request body is not valid JSON")
    if len(bare) - closing > MAX_VALUES:
        raise BadRequest(f"the JSON has more than {MAX_VALUES} values")
    if max(accumulate(map(_STEPS.__getitem__, bare), initial=0)) > MAX_DEPTH:
        raise BadRequest(f"the JSON is nested more than {MAX_DEPTH} deep")


def _in_words(problem: str) -> str:
    """Turn msgspec's message into a sentence: `$.username` becomes `username`."""
    said, _, path = problem.partition(" - at `$")
    missing = re.fullmatch(r"Object missing required field `([^`]+)`", said)
    place = path.rstrip("`").lstrip(".")
    if missing:
        return f"{f'{place}.' if place else ''}{missing[1]} is required"
    said = said[0].lower() + said[1:]
    return f"{place}: {said}" if place else f"the request body: {said}"
