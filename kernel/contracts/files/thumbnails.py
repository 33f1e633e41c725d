"""Small pictures of images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from kernel.contracts.base import ServiceKey

__all__ = ["MAX_THUMBNAIL", "THUMBNAILS", "THUMBNAIL_TYPES", "Thumbnail", "Thumbnails"]

MAX_THUMBNAIL: Final = 2048
"""Pixels of the longer side."""
THUMBNAIL_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""Media types of images that thumbnails are made of."""


class Thumbnail(msgspec.Struct, frozen=True):
    """A small picture, and its media type: `image/jpeg`, or `image/png` where parts are clear."""

    content: bytes
    media_type: str


class Thumbnails(Protocol):
    """Makes small pictures of images that users sent."""

    async def make_thumbnail(
        self, pieces: AsyncIterator[bytes], width: int, height: int
    ) -> Thumbnail:
        """Return the image that the pieces add up to, within `width` and `height` pixels.

        Its proportions stay, and it is never enlarged. Of a moving image it is the first frame.
        Raises BadRequest with a sentence for what is no image of THUMBNAIL_TYPES, is broken or too
        large, and for a width or height that is not 1 to MAX_THUMBNAIL. Raises Unavailable if too
        many are being made, and what the pieces raise.
        """
        ...


THUMBNAILS = ServiceKey[Thumbnails]("thumbnails")
