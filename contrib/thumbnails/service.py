"""Pictures, each made by a process of its own."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio.abc import Process

from kernel.public import MAX_THUMBNAIL, BadRequest, ConcurrencyLimiter, Thumbnail, Unavailable

from .config import ThumbnailsConfig

log = structlog.get_logger("caudex.thumbnails")

CHILD: Final = Path(__file__).with_name("child.py")
REFUSED: Final = 3
MAX_OUTPUT: Final = 32 * 2**20
WAITING: Final = 32
"""Callers that wait for their turn."""


class ThumbnailService:
    """Provides THUMBNAILS."""

    def __init__(self, config: ThumbnailsConfig) -> None:
        self._config = config
        self._turns = ConcurrencyLimiter(
            config.at_once,
            queue=WAITING,
            timeout=config.timeout,
            message="too many thumbnails are being made",
            retry_after=5,
        )

    async def make_thumbnail(
        self, pieces: AsyncIterator[bytes], width: int, height: int
    ) -> Thumbnail:
        """See `Thumbnails.make_thumbnail`."""
        if not (1 <= width <= MAX_THUMBNAIL and 1 <= height <= MAX_THUMBNAIL):
            raise BadRequest(f"width and height of a thumbnail must be 1 to {MAX_THUMBNAIL}")
        async with self._turns.hold():
            content = await self._read(pieces)
            try:
                with anyio.fail_after(self._config.timeout):
                    status, output = await self._run(content, width, height)
            except TimeoutError:
                raise BadRequest("the image takes too long to decode") from None
        if status == REFUSED:
            raise BadRequest(output[:200].decode("utf-8", "replace"))
        media_type, separator, picture = output.partition(b"\n")
        if status or not separator:
            log.warning("a process that makes thumbnails failed", status=status)
            raise BadRequest("the image cannot be decoded")
        return Thumbnail(picture, media_type.decode())

    async def _read(self, pieces: AsyncIterator[bytes]) -> bytes:
        limit = self._config.max_mb * 2**20
        content = bytearray()
        async for piece in pieces:
            content += piece
            if len(content) > limit:
                problem = f"the image is over {self._config.max_mb} MB"
                raise BadRequest(f"{problem}, too large for a thumbnail")
        return bytes(content)

    async def _run(self, content: bytes, width: int, height: int) -> tuple[int, bytes]:
        """Run the process, and return its status and what it wrote. It ends with this call."""
        config = self._config
        seconds = math.ceil(config.timeout)
        numbers = (width, height, config.max_megapixels, config.memory_mb, seconds)
        command = [sys.executable, "-I", str(CHILD), *map(str, numbers)]
        try:
            process = await anyio.open_process(command, stderr=subprocess.DEVNULL, env={})
        except OSError as error:
            raise Unavailable(f"no process for a thumbnail: {error.strerror}") from None
        async with process:
            try:
                output = await _exchange(process, content)
                return await process.wait(), output
            except BaseException:
                process.kill()
                raise


async def _exchange(process: Process, content: bytes) -> bytes:
    """Give a process its input, and return its output. It reads everything before it writes."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await process.stdin.send(content)
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # it has ended: its status says why
    output = bytearray()
    async for piece in process.stdout:
        output += piece
        if len(output) > MAX_OUTPUT:
            raise BadRequest("the image cannot be decoded")
    return bytes(output)
