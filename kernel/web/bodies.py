"""JSON bodies of requests: bounded in memory, checked, decoded."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import accumulate
from typing import Any

import msgspec
import starlette.requests
from starlette.responses import Response
from starlette.types import Receive

from kernel.contracts.server import MAX_BODY
from kernel.errors import BadRequest, TooLarge, nearest
from kernel.toolkit.limiter import ConcurrencyLimiter
from kernel.web.replies import JSON

TOO_MANY_BODIES = "too many unfinished or large bodies at once"
MAX_DEPTH = 64
"""Nesting of a JSON body; code that walks it stays far from Python's limit of recursion."""
MAX_VALUES = 1_000_000
"""Brackets and commas of a JSON body outside its texts; 50 MB of `[],` take 1 GB of memory."""
SLOW_SECONDS = 1.0
"""Time in which a body arrives, unless it is slow."""
JSON_KIND = re.compile(r"application/(json|[\w.-]+\+json)")
_FAR = re.compile(rb"[eE][+-]?0*[1-9][0-9]{2,}\s*[],}]")
_SHAPES = bytes.maketrans(b"E+0123456789", b"e-0000000000")
"""All exponents look alike: `e0` or `e-0` is where one begins."""
_MARKS = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{},"')
_STEPS = {ord("["): 1, ord("]"): -1, ord(","): 0}


class Bodies:
    """Bounds the bodies that are in memory at the same time."""

    def __init__(self, limit: int = 3 * MAX_BODY, free_bytes: int = 64_000) -> None:
        """`limit` is in bytes of all bodies; `free_bytes` of each are not counted."""
        half = (limit + 1) // 2
        self._free_bytes = free_bytes
        self._of_users = ConcurrencyLimiter(limit, per_key=half, message=TOO_MANY_BODIES)
        self._anonymous = ConcurrencyLimiter(limit // 3, message=TOO_MANY_BODIES)

    async def read_and_handle(
        self,
        sender: str | None,
        receive: Receive,
        limit: int,
        handle: Callable[[bytes], Awaitable[Response]],
        repeat_guard: Callable[[], Awaitable[None]],
    ) -> Response:
        """Read a whole body, and count it until it is handled. `repeat_guard` is called after a
        slow body.

        The first bytes of each body are not counted, so that large slow ones do not keep small ones
        out. One user has at most half of the rest. Anonymous callers have a pool of their own, of
        which each unfinished body takes a part, however small it is. Raises TooLarge, Unavailable.
        """
        began = time.monotonic()
        limiter = self._of_users
        smallest_share = 0
        if sender is None:
            limiter = self._anonymous
            smallest_share = 4 * self._free_bytes
        pieces: list[bytes] = []
        size = 0
        counted = 0
        more_body = True
        try:
            while True:
                missing = max(smallest_share, size - self._free_bytes) - counted
                if missing:
                    limiter.take(sender, missing)
                    counted += missing
                if not more_body:
                    break
                message = await receive()
                if message["type"] != "http.request":
                    raise starlette.requests.ClientDisconnect
                piece = message.get("body", b"")
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise TooLarge(limit)
                more_body = message.get("more_body", False)
            is_slow = len(pieces) > 1 or time.monotonic() - began > SLOW_SECONDS
            body = b"".join(pieces)
            pieces.clear()
            if counted and size <= self._free_bytes:
                limiter.give_back(sender, counted)
                counted = 0
            if is_slow or size > self._free_bytes:  # permissions can have changed
                await repeat_guard()
            return await handle(body)
        finally:
            if counted:
                limiter.give_back(sender, counted)


def check_content(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what is not plain JSON in UTF-8. Raises BadRequest.

    A web page can make a browser post to any server without a preflight, but never as JSON: only
    requests without an origin may omit the content type.
    """
    default = b"" if b"origin" in headers else JSON
    content_type = headers.get(b"content-type", default)
    if content_type != JSON:
        kind, _, parameters = content_type.decode("latin-1").lower().partition(";")
        if not JSON_KIND.fullmatch(kind.strip()):
            raise BadRequest("the content type must be application/json")
        charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
        if charset and charset[1] not in ("utf-8", "utf8"):
            raise BadRequest("JSON must be in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise BadRequest("a content encoding is not accepted")


def decode(raw: bytes, decoder: msgspec.json.Decoder[Any], what: str = "the request body") -> Any:
    """Decode JSON strictly, within bounds of depth and of values. Raises BadRequest.

    The error names the wrong member, or `what` the JSON is.
    """
    if raw.find(b"\\u0000") >= 0 and b"\\u0000" in raw.replace(b"\\\\", b""):
        raise BadRequest("text must not contain the character U+0000")
    try:
        _check_structure(raw)
        _check_numbers(raw)
        if not raw.isascii():
            _check_utf8(raw)
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise BadRequest(
            _put_in_words(str(error), what) + _suggest_word(str(error), decoder.type)
        ) from None
    except UnicodeDecodeError:
        raise BadRequest(f"{what} is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest(f"{what} is not valid JSON") from None


def _check_numbers(raw: bytes) -> None:
    """Refuse many numbers with an exponent of three digits.

    For one near the limits of a double the decoder takes 10 µs, 400 times as long as for another,
    and blocks all requests (msgspec 0.20). PostgreSQL prints up to 309 digits of each.
    """
    limit = MAX_VALUES // 100
    if len(raw) <= 2 * limit or raw.count(b",") < limit:
        return
    shapes = raw.translate(_SHAPES)  # to count in it takes a fifth of the time of the pattern
    if shapes.count(b"e0") + shapes.count(b"e-0") <= limit or len(_FAR.findall(raw)) <= limit:
        return
    parts = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    outside_texts = b"".join(parts[::2])
    if len(_FAR.findall(outside_texts)) > limit:
        raise BadRequest(f"the JSON has more than {limit} numbers beyond 1e±99")


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
    ignored = _NO_MARKS
    if len(raw) <= MAX_VALUES:  # so few commas need no count
        ignored += b","
    marks = raw.translate(_MARKS, ignored)
    if len(marks) <= MAX_VALUES and marks.count(b"[") <= MAX_DEPTH:
        return
    if b"\\" in raw:
        marks = raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_MARKS, ignored)
    if len(marks) > 4 * MAX_VALUES and marks.count(b'"') > 4 * MAX_VALUES:
        raise BadRequest(f"the JSON has more than {MAX_VALUES} values")
    bare = b"".join(marks.replace(b'""', b"").split(b'"')[::2])  # outside texts
    # What passes this check and the next has at most 2 * MAX_VALUES marks for the loop below.
    if bare.count(b"]") > len(bare) // 2:  # more than open
        raise msgspec.DecodeError
    if len(bare) - bare.count(b"]") > MAX_VALUES:
        raise BadRequest(f"the JSON has more than {MAX_VALUES} values")
    inner = bare.replace(b",", b"")
    for _ in range(8):  # to remove pairs is ten times as fast as to count how deep they are
        inner = inner.replace(b"[]", b"")
    if inner and max(accumulate(map(_STEPS.__getitem__, bare), initial=0)) > MAX_DEPTH:
        raise BadRequest(f"the JSON is nested more than {MAX_DEPTH} deep")


def _put_in_words(problem: str, what: str) -> str:
    """Turn msgspec's message into a sentence: `$.username` becomes `username`."""
    text, _, path = problem.partition(" - at `$")
    place = path.rstrip("`").lstrip(".")
    missing = re.fullmatch(r"Object missing required field `([^`]+)`", text)
    if missing:
        prefix = f"{place}." if place else ""
        return f"{prefix}{missing[1]} is required"
    sentence = text[0].lower() + text[1:]
    return f"{place or what}: {sentence}"


def _suggest_word(problem: str, kind: Any) -> str:
    """Return the word that a body of this type has for an unknown member or value, as a clause."""
    match = re.search(r"unknown field `(?P<field>.*?)`|enum value '(?P<value>.*?)'", problem)
    if match is None:
        return ""
    schemas = msgspec.json.schema_components([kind])[1].values()
    members: dict[str, Any] = {}
    for schema in schemas:
        members |= schema.get("properties", {})
    if match["field"] is not None:
        return f"; {nearest(match['field'], members)}"
    member = members.get(problem.rpartition(".")[2].rstrip("`"), {})
    words = list[str]()
    for schema in (member, *member.get("anyOf", ())):
        words += map(str, schema.get("enum", ()))
    return f"; {nearest(match['value'], words)}"
