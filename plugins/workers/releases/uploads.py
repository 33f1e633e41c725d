"""Receives the archive of a deploy from a multipart form."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import IO

from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from kernel.public import BadRequest

from .folders import full_disk


async def receive(headers: Headers, body: AsyncIterator[bytes], target: Path) -> None:
    """Write the archive of a form (RFC 7578) into a new file. Raises BadRequest, Unavailable.

    The archive is the file in the field `archive`, else the first file. `body` limits the size of
    the whole. Parts over 1 MB are spooled to `TMPDIR`.
    """
    kind, options = parse_options_header(headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise BadRequest("send the archive as multipart/form-data, in the field 'archive'")
    parser = MultiPartParser(
        headers, _complete(body, b"--%b--" % options[b"boundary"]),
        max_files=4, max_fields=4, max_part_size=64 * 1024,
    )  # fmt: skip
    with full_disk():
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise BadRequest(f"the multipart body is broken: {error.message}") from None
        try:
            items = reversed(form.multi_items())
            files = {name: part.file for name, part in items if isinstance(part, UploadFile)}
            if not files:
                raise BadRequest("the field 'archive' is missing")
            first = [*files.values()][-1]
            await to_thread.run_sync(_copy, files.get("archive", first), target)
        finally:
            await form.close()


async def _complete(body: AsyncIterator[bytes], end: bytes) -> AsyncGenerator[bytes]:
    """Pass a body on. Raises BadRequest if its end is missing, which the parser accepts."""
    tail = b""
    async for piece in body:
        tail = (tail + piece[-4096:])[-4096:]
        yield piece
    if end not in tail:
        raise BadRequest("the multipart body is broken or cut off")


def _copy(file: IO[bytes], target: Path) -> None:
    with target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1024 * 1024)
