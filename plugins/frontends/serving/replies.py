"""Sends files: whole or in part, plain or compressed, in one piece where they are small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from starlette.types import Scope, Send

from kernel.public import FILE_PIECE, headers_of
from plugins.frontends.bundles.bundle import Bundle, Entry, Span
from plugins.frontends.bundles.names import find_type, has_hash

from .conditions import UnsatisfiableRange, choose_encoding, find_range, has_current
from .directory import Frontend
from .sites import MAX_IN_MEMORY, SiteFile, Sites

FOREVER: Final = b"max-age=31536000, immutable"
Headers = list[tuple[bytes, bytes]]


class Representation(NamedTuple):
    """A file in one encoding: where its content is, and the tag that names it."""

    encoding: str
    span: Span
    tag: bytes


class Part(NamedTuple):
    """What of a representation is sent, with the status that says so."""

    status: int
    span: Span


class FileSender:
    """Answers requests for files of frontends."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    async def send_file(
        self, frontend: Frontend, file: SiteFile, more_headers: Headers, scope: Scope, send: Send
    ) -> None:
        """Send a file, a part of it, or 304 or 416 in its place."""
        request_headers = headers_of(scope)
        entry = file.entry
        representation = _choose(entry, request_headers)
        headers = _describe(frontend, entry, representation.tag) + more_headers
        if has_current(request_headers, representation.tag):
            await _send(send, 304, headers)
            return

        size = representation.span.size
        part = _choose_part(scope["method"], request_headers, representation)
        if part.status == 416:
            headers += [(b"content-range", b"bytes */%d" % size), (b"content-length", b"0")]
            await _send(send, 416, headers)
            return
        if part.status == 206:
            last = part.span.offset + part.span.size - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (part.span.offset, last, size)))
        headers.append((b"content-type", find_type(entry.path).encode()))
        headers.append((b"content-length", b"%d" % part.span.size))
        if representation.encoding:
            headers.append((b"content-encoding", representation.encoding.encode()))

        if scope["method"] == "HEAD":
            await _send(send, part.status, headers)
        elif size <= MAX_IN_MEMORY:
            content = await self._sites.read(file.bundle, representation.span)
            if part.status == 206:
                content = content[part.span.offset : part.span.offset + part.span.size]
            await _send(send, part.status, headers, content)
        else:
            offset = representation.span.offset + part.span.offset
            await _start(send, part.status, headers)
            await self._send_pieces(file.bundle, Span(offset, part.span.size), send)

    async def _send_pieces(self, bundle: Bundle, span: Span, send: Send) -> None:
        """Send a part of a bundle piece by piece, as fast as the client takes it."""
        sent = 0
        while sent < span.size:
            size = min(FILE_PIECE, span.size - sent)
            piece = await self._sites.read_piece(bundle, Span(span.offset + sent, size))
            sent += size
            message = {"type": "http.response.body", "body": piece, "more_body": sent < span.size}
            await send(message)


def _choose(entry: Entry, headers: Mapping[bytes, bytes]) -> Representation:
    """Choose the encoding of a reply. Ranges are of the plain content."""
    encoding = ""
    if b"range" not in headers:
        encoding = choose_encoding(entry, headers)
    tag = entry.digest[:32]
    if encoding:
        tag = f"{tag}-{encoding}"
    span = entry.compressed.get(encoding, entry.plain)
    return Representation(encoding, span, f'"{tag}"'.encode())


def _choose_part(
    method: str, headers: Mapping[bytes, bytes], representation: Representation
) -> Part:
    """Choose what to send: all of it, a range, or nothing of an impossible range."""
    size = representation.span.size
    full_part = Part(200, Span(0, size))
    if method != "GET":  # ranges are for GET only (14.2)
        return full_part
    try:
        span = find_range(headers, size, representation.tag)
    except UnsatisfiableRange:
        return Part(416, Span(0, 0))
    return full_part if span is None else Part(206, span)


def _describe(frontend: Frontend, entry: Entry, tag: bytes) -> Headers:
    """Return the headers of each reply about a file, also of one without its content."""
    caching = b"no-cache"
    if has_hash(entry.path):
        caching = FOREVER
    if not frontend.public:
        caching = b"private, " + caching
    elif caching is FOREVER:
        caching = b"public, " + caching
    headers = [
        (b"etag", tag),
        (b"cache-control", caching),
        (b"content-security-policy", frontend.policy),
        (b"referrer-policy", b"same-origin"),
        (b"accept-ranges", b"bytes"),
    ]
    if entry.compressed:
        headers.append((b"vary", b"Accept-Encoding"))
    return headers


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})
