"""Forms with files (RFC 7578), read as they arrive."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, cast

import msgspec
from anyio import to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from kernel.errors import BadRequest
from kernel.toolkit.files import full_disk

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM_FRAME: Final = 64_000
"""Bytes that a form may have beside its file: boundaries, headers and other fields."""
BUFFER: Final = 1024 * 1024
"""Bytes that are collected before they are written to a file."""


class FormLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a form. The size of the whole is that of its body.

    It has at most so many `parts`, each with so many `headers`. `header_bytes` are of one header
    line of a part, `text_bytes` of the text of a field.
    """

    parts: int = 16
    headers: int = 8
    header_bytes: int = 4096
    text_bytes: int = 64 * 1024


class FormPart:
    """A part of a form: `async for piece in part` reads its content once, as it arrives.

    `file_name` is what the client calls the file, None for a field without a file. `media_type` is
    what the client says of it.
    """

    def __init__(self, form: FormReader, headers: dict[str, bytes]) -> None:
        self._form = form
        _, options = parse_options_header(headers.get("content-disposition"))
        if b"name" not in options:
            raise BadRequest("a part of the multipart body has no name")
        self.name = options[b"name"].decode("utf-8", "replace")
        file_name = options.get(b"filename")
        self.file_name = None if file_name is None else file_name.decode("utf-8", "replace")
        self.media_type = headers.get("content-type", b"").decode("latin-1")
        self.is_read = False
        """Whether the end of the part was reached."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self.is_read:
            raise StopAsyncIteration
        data = await self._form.read_piece()
        if data is None:
            self.is_read = True
            raise StopAsyncIteration
        return data

    async def read_text(self) -> str:
        """Return the text of a field. Raises BadRequest beyond `text_bytes`, and for no UTF-8."""
        limit = self._form.limits.text_bytes
        content = bytearray()
        async for data in self:
            content += data
            if len(content) > limit:
                raise BadRequest(f"the field {self.name!r} is over the limit of {limit} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"the field {self.name!r} must be in UTF-8") from None

    async def save(self, target: Path, *, replace: bool = False) -> int:
        """Write the content into a new file, and return its size.

        With `replace` a file that is there is written over. Raises Unavailable if the disk is full.
        """
        mode = "wb" if replace else "xb"
        size = 0
        buffer = bytearray()
        with full_disk(), await to_thread.run_sync(target.open, mode) as file:
            async for data in self:
                buffer += data
                size += len(data)
                if len(buffer) >= BUFFER:
                    await to_thread.run_sync(file.write, bytes(buffer))
                    buffer.clear()
            await to_thread.run_sync(file.write, bytes(buffer))
        return size


class FormReader:
    """Yields the parts of a form in their order. What is not read of one is skipped.

    `pieces` are those of the body, as `read_pieces` yields them, and bound its size. They are read
    to their end. Raises BadRequest for a broken form, or one that is cut off.
    """

    def __init__(
        self, content_type: str | None, pieces: AsyncIterator[bytes], limits: FormLimits
    ) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise BadRequest("the content type must be multipart/form-data with a boundary")
        self.limits = limits
        self._pieces = pieces
        self._events = _Events(self)
        self._parser = _make_parser(options[b"boundary"], self._events, limits)
        self._part: FormPart | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FormPart:
        if self._part is not None:
            async for _ in self._part:
                pass
        event = await self._next_event()
        if not isinstance(event, FormPart):
            async for _ in self._pieces:
                pass
            raise StopAsyncIteration
        self._part = event
        return event

    async def read_piece(self) -> bytes | None:
        """Return the next piece of the current part, None at its end."""
        event = await self._next_event()
        if isinstance(event, bytearray):
            return bytes(event)
        return None

    async def _next_event(self) -> FormPart | bytearray | None:
        events = self._events
        while not events.queue:
            if events.is_complete:
                return None
            piece = await anext(self._pieces, None)
            if piece is None:
                raise BadRequest("the multipart body is broken or cut off")
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise BadRequest(f"the multipart body is broken: {error}") from None
        return events.queue.popleft()


class _Events:
    """What the parser has found in the last piece of a body: parts, pieces of them, their ends."""

    def __init__(self, form: FormReader) -> None:
        self.queue = deque[FormPart | bytearray | None]()
        self.is_complete = False
        self._form = form
        self._parts = 0
        self._headers: dict[str, bytes] = {}
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._form.limits.parts:
            raise BadRequest(f"the form has more than {self._form.limits.parts} parts")
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value
        self._name = b""
        self._value = b""

    def on_headers_finished(self) -> None:
        self.queue.append(FormPart(self._form, self._headers))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        # One piece for all that came together: content with many line breaks comes in crumbs.
        last = self.queue[-1] if self.queue else None
        if isinstance(last, bytearray):
            last += data[start:end]
        else:
            self.queue.append(bytearray(data[start:end]))

    def on_part_end(self) -> None:
        self.queue.append(None)

    def on_end(self) -> None:
        self.is_complete = True


def _make_parser(boundary: bytes, events: _Events, limits: FormLimits) -> MultipartParser:
    names = (
        "on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value",
        "on_header_end", "on_headers_finished", "on_end",
    )  # fmt: skip
    callbacks = {name: getattr(events, name) for name in names}
    try:
        return MultipartParser(
            boundary,
            cast("MultipartCallbacks", callbacks),
            max_header_count=limits.headers,
            max_header_size=limits.header_bytes,
        )
    except FormParserError as error:
        raise BadRequest(f"the multipart body is broken: {error}") from None
