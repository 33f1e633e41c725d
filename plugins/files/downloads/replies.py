"""Replies with the content of a file: ranges, validators, and headers that keep it from running."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

import anyio
import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.public import BlobReader, KernelError, Request, Response, Storage, headers_of
from plugins.files.models import StoredFile
from plugins.files.uploads.names import write_disposition

SANDBOX: Final = "sandbox; default-src 'none'"
PDF_POLICY: Final = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"
MEDIA_POLICY: Final = "default-src 'none'; media-src 'self'"

_RANGE: Final = re.compile(rb"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")
_TAG: Final = re.compile(rb'(?:W/)?("[^"]*")')


class Span(msgspec.Struct, frozen=True):
    """The bytes of a content from `start` to before `end`."""

    start: int
    end: int


class RangeNotSatisfiable(KernelError):
    """A range begins beyond the end of the content."""

    status: ClassVar[int] = 416

    def __init__(self, size: int) -> None:
        headers = {"content-range": f"bytes */{size}"}
        super().__init__(f"the range is beyond the {size} bytes of the file", headers=headers)


class BlobReply(StreamingResponse):
    """Sends the pieces of a blob, and gives back what it holds whatever happens."""

    def __init__(self, reader: BlobReader, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(reader, status_code=status, headers=headers)
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._reader.aclose()


async def send_content(
    request: Request, storage: Storage, file: StoredFile, headers: Mapping[str, str]
) -> Response:
    """Answer with the content of a file, a range of it, or word that it has not changed."""
    assert file.sha256 is not None
    etag = f'"{file.sha256}"'
    all_headers = {"etag": etag, "accept-ranges": "bytes", **headers}
    sent_headers = headers_of(request.scope)
    if is_known(sent_headers.get(b"if-none-match"), etag):
        return Response(status_code=304, headers=all_headers)

    span = read_range(sent_headers, etag, file.size)
    status = 200
    if span is None:
        span = Span(0, file.size)
    else:
        status = 206
        all_headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{file.size}"
    all_headers["content-length"] = str(span.end - span.start)
    all_headers["content-type"] = content_type(file.type)
    if request.method == "HEAD":
        return Response(status_code=status, headers=all_headers)
    reader = await storage.open_blob(file.sha256, span.start, span.end)
    return BlobReply(reader, status, all_headers)


def content_type(media_type: str) -> str:
    """Return the type with what a browser would else guess."""
    if media_type.startswith("text/"):
        return f"{media_type}; charset=utf-8"
    return media_type


def is_known(if_none_match: bytes | None, etag: str) -> bool:
    """Whether `If-None-Match` names a tag."""
    if if_none_match is None:
        return False
    tags = _TAG.findall(if_none_match)
    return if_none_match.strip() == b"*" or etag.encode() in tags


def read_range(headers: Mapping[bytes, bytes], etag: str, size: int) -> Span | None:
    """Return the one range that a request asks for (RFC 9110, 14), None for the whole content.

    Several ranges, and what is no range of bytes, are ignored. Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch(headers.get(b"range", b""))
    if match is None:
        return None
    # A date never matches: the content has none that a client could know.
    condition = headers.get(b"if-range")
    if condition is not None and condition.strip() != etag.encode():
        return None
    first = match[1]
    last = match[2]
    if not first and not last:
        return None
    if not first:
        start = max(0, size - int(last))
        end = size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(size)
    return Span(start, end)


def describe_content(file: StoredFile, *, download: bool) -> dict[str, str]:
    """Return the headers that say how a browser may show a file.

    Only formats that run nothing are shown; each policy is the tightest that shows it.
    """
    policy = SANDBOX
    if file.type == "application/pdf":
        policy = PDF_POLICY
    elif file.type.startswith(("audio/", "video/")):
        policy = MEDIA_POLICY
    inline = is_safe(file.type) and not download
    return {
        "content-disposition": write_disposition(file.name, inline=inline),
        "content-security-policy": policy,
    }


def is_safe(media_type: str) -> bool:
    """Whether a browser may show a type in place: it runs no code of who uploaded it."""
    if media_type in ("application/pdf", "text/plain"):
        return True
    return media_type != "image/svg+xml" and media_type.startswith(("image/", "audio/", "video/"))
