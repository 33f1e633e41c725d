"""Sends files: whole or in part, plain or compressed, in one piece where they are small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Send

from plugins.frontends.bundles.bundle import Bundle, Entry, Span
from plugins.frontends.bundles.names import find_type, has_hash

from .conditions import UnsatisfiableRange, choose_encoding, find_range, has_current
from .directory import Frontend
from .sites import MAX_IN_MEMORY, Found, Sites

PIECE: Final = 256 * 1024
FOREVER: Final = b"max-age=31536000, immutable"
Headers = list[tuple[bytes, bytes]]


class FileSender:
    """Answers requests for files of frontends."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    async def send_file(
        self,
        frontend: Frontend,
        found: Found,
        request_headers: Mapping[bytes, bytes],
        more_headers: Headers,
        method: str,
        send: Send,
    ) -> None:
        """Send a file, a part of it, or 304 or 416 in its place."""
        entry = found.entry
        encoding = ""
        if b"range" not in request_headers:
            encoding = choose_encoding(entry, request_headers)
        span = entry.compressed.get(encoding, entry.plain)
        tag = b'"%b"' % f"{entry.digest[:32]}{encoding and '-'}{encoding}".encode()
        headers = _describe(frontend, entry, tag) + more_headers
        if has_current(request_headers, tag):
            await _send(send, 304, headers)
            return

        status = 200
        part = Span(0, span.size)
        if method == "GET":
            try:
                wanted_part = find_range(request_headers, span.size, tag)
            except UnsatisfiableRange:
                headers.append((b"content-range", b"bytes */%d" % span.size))
                await _send(send, 416, [*headers, (b"content-length", b"0")])
                return
            if wanted_part is not None:
                status = 206
                part = wanted_part
                last = part.offset + part.size - 1
                content_range = b"bytes %d-%d/%d" % (part.offset, last, span.size)
                headers.append((b"content-range", content_range))
        headers.append((b"content-type", find_type(entry.path).encode()))
        headers.append((b"content-length", b"%d" % part.size))
        if encoding:
            headers.append((b"content-encoding", encoding.encode()))

        if method == "HEAD":
            await _send(send, status, headers)
        elif span.size <= MAX_IN_MEMORY:
            content = await self._sites.read(found.bundle, span)
            if status == 206:
                content = content[part.offset : part.offset + part.size]
            await _send(send, status, headers, content)
        else:
            await _start(send, status, headers)
            await self._send_pieces(found.bundle, Span(span.offset + part.offset, part.size), send)

    async def _send_pieces(self, bundle: Bundle, span: Span, send: Send) -> None:
        """Send a part of a bundle piece by piece, as fast as the client takes it."""
        sent = 0
        while sent < span.size:
            size = min(PIECE, span.size - sent)
            piece = await self._sites.read_piece(bundle, Span(span.offset + sent, size))
            sent += size
            message = {"type": "http.response.body", "body": piece, "more_body": sent < span.size}
            await send(message)


def _describe(frontend: Frontend, entry: Entry, tag: bytes) -> Headers:
    """Return the headers of each reply about a file, also of one without its content."""
    caching = b"no-cache"
    if has_hash(entry.path):
        caching = (b"public, " if frontend.public else b"private, ") + FOREVER
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
