"""`[plugins.storage]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class StorageConfig(Section, frozen=True, kw_only=True):
    """The folder of the blobs, and what it must leave to others.

    Without `folder` it is `<data-dir>/files`. Nothing is written while less than `min_free_mb`
    (2^20 bytes) of its file system would remain free. A single step on the disk that takes longer
    than `timeout` seconds fails the request.
    """

    folder: str = ""
    min_free_mb: Annotated[int, Meta(ge=0, le=1_073_741_824)] = 256
    timeout: Annotated[float, Meta(ge=0.1, le=600)] = 30.0
