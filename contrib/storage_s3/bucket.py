"""The objects of a bucket, with errors of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import anyio
import msgspec
import structlog

from kernel.public import Unavailable

from . import library
from .config import StorageS3Config

log = structlog.get_logger("caudex.storage")

PART: Final = 5 * 2**20
"""Bytes of a part of an upload; S3 allows no smaller ones."""
PARTS_AT_ONCE: Final = 2
RETRIES: Final = 4
LISTED: Final = 1000
"""Objects of one page of a listing."""

_FULL: Final = ("StorageFull", "QuotaExceeded", "InsufficientCapacity", " 507 ")


class StoredObject(msgspec.Struct, frozen=True):
    """An object of a listing. `modified_at` is in UTC."""

    key: str
    size: int
    modified_at: datetime


class Upload:
    """An object that is written in parts. Without `finish` it never appears.

    The parts of an upload that is given up remain until a rule of the bucket deletes them.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._writer = library.open_writer_async(
            bucket.objects, key, buffer_size=PART, max_concurrency=PARTS_AT_ONCE
        )

    async def write(self, data: bytes) -> None:
        """Append some bytes. It waits while two parts are on their way."""
        with self._bucket.reported():
            await self._writer.write(data)

    async def finish(self) -> None:
        """Write the last part, and put the object into its place."""
        with self._bucket.reported(4):
            await self._writer.close()


class Bucket:
    """Reads and writes objects by their keys. A store that fails raises Unavailable."""

    def __init__(self, config: StorageS3Config) -> None:
        self._seconds = config.timeout
        seconds = timedelta(seconds=config.timeout)
        credentials: dict[str, Any] = {}
        if config.access_key_id:
            credentials["access_key_id"] = config.access_key_id
            credentials["secret_access_key"] = config.secret_access_key
        if config.endpoint:
            credentials["endpoint"] = config.endpoint
        self.objects = library.S3Store(
            config.bucket,
            prefix=config.prefix.strip("/") or None,
            region=config.region,
            virtual_hosted_style_request=config.virtual_hosted,
            client_options={
                "allow_http": config.endpoint.startswith("http://"),
                "timeout": seconds,
                "connect_timeout": min(seconds, timedelta(seconds=5)),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": seconds},
            **credentials,
        )

    async def put(self, key: str, data: bytes) -> None:
        """Write an object in one request."""
        with self.reported():
            await library.put_async(self.objects, key, data, use_multipart=False)

    def put_now(self, key: str, data: bytes) -> None:
        """Write an object where no event loop runs. It blocks, for twice the time limit at most."""
        with self._translated():
            library.put(self.objects, key, data, use_multipart=False)

    async def copy(self, source: str, target: str) -> None:
        """Copy an object within the store."""
        with self.reported(4):
            await library.copy_async(self.objects, source, target)

    async def measure(self, key: str) -> int | None:
        """Return the size of an object; None without one."""
        try:
            with self.reported():
                return (await library.head_async(self.objects, key))["size"]
        except FileNotFoundError:
            return None

    async def read(self, key: str, start: int, end: int) -> bytes:
        """Read a range of an object. Raises FileNotFoundError without one."""
        with self.reported():
            return bytes(await library.get_range_async(self.objects, key, start=start, end=end))

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        try:
            with self.reported():
                await library.delete_async(self.objects, key)
        except FileNotFoundError:
            return

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects below a prefix, which ends where a slash follows."""
        pages = library.list_objects(self.objects, prefix, LISTED)
        while True:
            with self.reported():
                page = await anext(pages, None)
            if page is None:
                return
            for item in page:
                yield StoredObject(item["path"], item["size"], item["last_modified"])

    @contextmanager
    def reported(self, factor: float = 1.0) -> Generator[None]:
        """Raise FileNotFoundError or Unavailable for errors of the library, and bound the time:
        that of all tries together, `factor` times as long where much is to be done."""
        try:
            with self._translated(), anyio.fail_after(2.5 * factor * self._seconds):
                yield
        except TimeoutError:
            log.warning("the file store does not answer", seconds=self._seconds)
            raise Unavailable("the file store does not answer", retry_after=10) from None

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (library.PermissionDeniedError, library.UnauthenticatedError) as error:
            log.warning("the file store refused a request", **_describe(error))
            message = "the file store refuses the credentials of the server"
            raise Unavailable(message, retry_after=60) from None
        except library.BaseError as error:
            log.warning("the file store failed", **_describe(error))
            if any(word in str(error) for word in _FULL):
                raise Unavailable("the file store is full", retry_after=60) from None
            raise Unavailable("the file store cannot be reached", retry_after=10) from None


def _describe(error: Exception) -> dict[str, Any]:
    """Return the fields of a log line: an error of the library has many lines."""
    return {"error": " ".join(str(error).split())[:500]}
