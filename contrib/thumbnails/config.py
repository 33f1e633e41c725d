"""`[plugins.thumbnails]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class ThumbnailsConfig(Section, frozen=True, kw_only=True):
    """What one picture may take, and how many are made at once in each server process.

    `max_mb` (2^20 bytes) is of the file, `max_megapixels` of the image in it, `memory_mb` of the
    process that makes it. `timeout` is in seconds.
    """

    max_mb: Annotated[int, Meta(ge=1, le=1024)] = 50
    max_megapixels: Annotated[int, Meta(ge=1, le=1000)] = 50
    memory_mb: Annotated[int, Meta(ge=128, le=65_536)] = 1024
    timeout: Annotated[float, Meta(ge=0.5, le=300)] = 15.0
    at_once: Annotated[int, Meta(ge=1, le=64)] = 2
