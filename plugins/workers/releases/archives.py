"""Archives: received from a request, and stored in the database in chunks of 1 MB."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import IO, Final

from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from kernel.public import BadRequest, Transaction, Unavailable
from plugins.workers import store
from plugins.workers.models import Release
from plugins.workers.store import WorkersStore

from .folders import full_disk

CHUNK_BYTES: Final = 1_000_000
MAX_PARTS: Final = 4
"""Files of a form, and as many fields of 64 kB."""


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
        max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=64 * 1024,
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
        shutil.copyfileobj(file, copy, CHUNK_BYTES)


def digest_of(archive: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


async def store_archive(tx: Transaction, release: Release, archive: Path) -> None:
    """Write an archive into the database."""
    with archive.open("rb") as file:
        position = 0
        while data := await to_thread.run_sync(file.read, CHUNK_BYTES):
            await store.add_chunk(tx, release, position, data)
            position += 1


async def fetch_archive(chunks: WorkersStore, release: Release, archive: Path) -> None:
    """Write an archive from the database into a new file. Raises Unavailable if it is not whole."""
    found, position = hashlib.sha256(), 0
    with full_disk(), archive.open("xb") as file:
        while (data := await chunks.chunk(release, position)) is not None:
            found.update(data)
            await to_thread.run_sync(file.write, data)
            position += 1
    if found.hexdigest() != release.digest:
        raise Unavailable("the archive of this version is not whole in the database")
