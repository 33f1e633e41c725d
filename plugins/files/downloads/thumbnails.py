"""Small pictures of images: `?thumb=200x200`, made by THUMBNAILS and kept for a while."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

from kernel.public import (
    MAX_THUMBNAIL,
    THUMBNAIL_TYPES,
    BadRequest,
    Request,
    Response,
    Storage,
    Thumbnail,
    Thumbnails,
    headers_of,
)
from plugins.files.models import StoredFile

from .replies import is_known

MAX_BYTES: Final = 16_000_000
"""Bytes of the pictures that a process keeps; the one that was used longest ago makes room."""

_BOX: Final = re.compile(r"([0-9]{1,4})x([0-9]{1,4})")

Key = tuple[str, int, int]
"""The hash of a content, and the width and height that its picture fits."""


class ThumbnailCache:
    """The last pictures, within a number of bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pictures = OrderedDict[Key, Thumbnail]()
        self._size = 0

    def find(self, key: Key) -> Thumbnail | None:
        """Return a picture that is kept."""
        picture = self._pictures.get(key)
        if picture is not None:
            self._pictures.move_to_end(key)
        return picture

    def keep(self, key: Key, picture: Thumbnail) -> None:
        """Keep a picture, and drop the oldest ones beyond the bound."""
        former = self._pictures.pop(key, None)
        if former is not None:
            self._size -= len(former.content)
        self._pictures[key] = picture
        self._size += len(picture.content)
        while self._size > self._max_bytes:
            _, oldest = self._pictures.popitem(last=False)
            self._size -= len(oldest.content)


class Pictures:
    """Answers with small pictures of files."""

    def __init__(self, storage: Storage, find_engine: Callable[[], Thumbnails | None]) -> None:
        self._storage = storage
        self._find_engine = find_engine
        self._cache = ThumbnailCache()

    async def send(
        self, request: Request, file: StoredFile, box: str, headers: Mapping[str, str]
    ) -> Response:
        """Answer with a picture of an image. Raises BadRequest."""
        assert file.sha256 is not None
        width, height = _read_box(box)
        if file.type not in THUMBNAIL_TYPES:
            types = ", ".join(THUMBNAIL_TYPES)
            raise BadRequest(f"thumb: there are pictures of {types}, and the file is {file.type}")
        etag = f'"{file.sha256}-{width}x{height}"'
        all_headers = {**headers, "etag": etag}
        if is_known(headers_of(request.scope).get(b"if-none-match"), etag):
            return Response(status_code=304, headers=all_headers)

        key = (file.sha256, width, height)
        picture = self._cache.find(key)
        if picture is None:
            picture = await self._make(key)
            self._cache.keep(key, picture)
        all_headers["content-type"] = picture.media_type
        all_headers["content-length"] = str(len(picture.content))
        content = b"" if request.method == "HEAD" else picture.content
        return Response(content, headers=all_headers)

    async def _make(self, key: Key) -> Thumbnail:
        engine = self._find_engine()
        if engine is None:
            raise BadRequest("thumb: this server makes no pictures, the plugin thumbnails is off")
        sha256, width, height = key
        async with aclosing(await self._storage.open_blob(sha256)) as pieces:
            return await engine.make_thumbnail(pieces, width, height)


def _read_box(text: str) -> tuple[int, int]:
    match = _BOX.fullmatch(text)
    if match is None:
        raise BadRequest("thumb must be <width>x<height>, as 200x200")
    width = int(match[1])
    height = int(match[2])
    if not (1 <= width <= MAX_THUMBNAIL and 1 <= height <= MAX_THUMBNAIL):
        raise BadRequest(f"thumb: width and height are 1 to {MAX_THUMBNAIL}")
    return width, height
