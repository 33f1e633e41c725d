"""Receives archives: as a multipart form, or as the body itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from anyio import to_thread

from kernel.public import MAX_BODY, BadRequest, FormLimits, FormReader, TooLarge, full_disk


async def receive_archive(
    content_type: str | None, body: AsyncIterator[bytes], target: Path
) -> None:
    """Write an archive into a new file. Raises BadRequest, TooLarge, Unavailable.

    In a form it is the file in the field `archive`, else the first file.
    """
    if (content_type or "").lower().startswith("multipart/"):
        size = await _save_part(content_type, body, target)
    else:
        size = await _save_body(body, target)
    if size > MAX_BODY:
        raise TooLarge(MAX_BODY)


async def _save_body(body: AsyncIterator[bytes], target: Path) -> int:
    size = 0
    with full_disk(), await to_thread.run_sync(target.open, "xb") as file:
        async for piece in body:
            await to_thread.run_sync(file.write, piece)
            size += len(piece)
    return size


async def _save_part(content_type: str | None, body: AsyncIterator[bytes], target: Path) -> int:
    size = 0
    saved = ""
    async for part in FormReader(content_type, body, FormLimits(parts=8)):
        is_file = part.file_name is not None
        is_better = not saved or (part.name == "archive" and saved != "archive")
        if is_file and is_better:
            size = await part.save(target, replace=True)
            saved = part.name
    if not saved:
        raise BadRequest("the field 'archive' is missing")
    return size
