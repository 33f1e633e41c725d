"""An archive on its way in: multipart (RFC 7578), straight to disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from anyio import to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from kernel.public import BadRequest

from .folders import discard, full_disk

FIELD: Final = b"archive"
MAX_PARTS: Final = 4
MAX_HEADERS: Final = 16 * 1024
PIECE: Final = 1024 * 1024
"""Bytes that are gathered before they are written."""


async def receive(chunks: AsyncIterator[bytes], content_type: str, target: Path) -> None:
    """Write the archive of a form into a file. Raises BadRequest; the file is the caller's."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequest("send the archive as multipart/form-data, in the field 'archive'")
    form = _Form(boundary, target)
    try:
        async for chunk in chunks:
            form.feed(chunk)
            if form.waiting > PIECE:
                await to_thread.run_sync(form.flush)
        await to_thread.run_sync(form.finish)
    finally:
        form.close()


class _Form:
    """The parser's callbacks. The first file is kept, until the field that is meant comes."""

    def __init__(self, boundary: bytes, target: Path) -> None:
        self._target = target
        self._file: IO[bytes] | None = None
        self._pieces: list[bytes] = []
        self.waiting = 0
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value, self._header_size = b"", b"", 0
        self._keeps = False
        self._found = False
        """Whether a part of the right name was there."""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            raise _broken() from None

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _broken() from None

    def flush(self) -> None:
        """Write what was gathered."""
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        if pieces and self._file is not None:
            with full_disk():
                self._file.write(b"".join(pieces))

    def finish(self) -> None:
        """Write the rest. Raises BadRequest where there is no archive."""
        if not self._ended:
            raise _broken()
        if self._file is None:
            raise BadRequest("the field 'archive' is missing")
        self.flush()
        with full_disk():
            self._file.flush()

    def close(self) -> None:
        """Close the file; `finish` has told whether all of it could be written."""
        if self._file is not None:
            with suppress(OSError):  # a full disk, for the second time
                self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        self._headers, self._header_size = {}, 0
        if self._parts > MAX_PARTS:
            raise BadRequest(f"the form has more than {MAX_PARTS} parts")

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._name += self._measured(data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._measured(data[start:end])

    def _on_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        named = options.get(b"name") == FIELD
        self._keeps = not self._found and (named or (self._file is None and b"filename" in options))
        self._found = self._found or named
        if self._keeps:
            self._pieces, self.waiting = [], 0
            self.close()
            discard(self._target)
            with full_disk():
                self._file = self._target.open("xb")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._keeps:
            self._pieces.append(data[start:end])
            self.waiting += end - start

    def _on_end(self) -> None:
        self._ended = True

    def _measured(self, piece: bytes) -> bytes:
        self._header_size += len(piece)
        if self._header_size > MAX_HEADERS:
            raise BadRequest("a part of the form has headers that are too long")
        return piece


def _broken() -> BadRequest:
    return BadRequest("the multipart body is broken or cut off")
