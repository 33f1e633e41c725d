"""The names of obstore that are used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from kernel.public import BootError

try:
    from obstore import (
        copy_async,
        delete_async,
        get_range_async,
        head_async,
        open_writer_async,
        put,
        put_async,
    )
    from obstore import list as _list  # pyright: ignore[reportUnknownVariableType]
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import S3Store
except ImportError as error:
    raise BootError(
        "plugin storage_s3", "the package obstore is not installed", "pip install 'obstore>=0.11'"
    ) from error

__all__ = [
    "BaseError", "PermissionDeniedError", "S3Store", "UnauthenticatedError", "copy_async",
    "delete_async", "get_range_async", "head_async", "list_objects", "open_writer_async", "put",
    "put_async",
]  # fmt: skip


def list_objects(store: S3Store, prefix: str, count: int) -> AsyncIterator[Sequence[Any]]:
    """Yield pages of the objects below a prefix."""
    return cast("AsyncIterator[Sequence[Any]]", _list(store, prefix, chunk_size=count))
