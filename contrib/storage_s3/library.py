"""The names of obstore that are used."""

from __future__ import annotations

from kernel.public import BootError

try:
    from obstore import (
        copy_async,
        delete_async,
        head_async,
        list,  # noqa: A004 - the name is that of the library
        open_writer_async,
        put_async,
    )
    from obstore import get_range_async as read_range
    from obstore.exceptions import (
        BaseError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )
    from obstore.store import S3Store
except ImportError as error:
    raise BootError(
        "plugin storage_s3", "the package obstore is not installed", "pip install 'obstore>=0.11'"
    ) from error

list_objects = list

__all__ = [
    "BaseError", "NotFoundError", "PermissionDeniedError", "S3Store", "UnauthenticatedError",
    "copy_async", "delete_async", "head_async", "list_objects", "open_writer_async", "put_async",
    "read_range",
]  # fmt: skip
