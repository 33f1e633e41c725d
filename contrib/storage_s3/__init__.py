"""The content of files, in a bucket of S3 or of a store that speaks its protocol."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    STORAGE,
    WATCH_SECONDS,
    DatabaseQuery,
    Finding,
    Health,
    Plugin,
    Provider,
    Services,
    StorageWatch,
    Unavailable,
    hookimpl,
    provide,
)

from .bucket import Bucket
from .config import StorageS3Config
from .service import S3Storage


class StorageS3Plugin(Plugin):
    """An engine for STORAGE."""

    name = "storage_s3"
    Config = StorageS3Config
    config: StorageS3Config
    _services: Services
    _storage: S3Storage | None = None
    _watch: StorageWatch | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide STORAGE; no request is sent before the first file."""
        # Other code could read it there.
        os.environ.pop("CAUDEX_PLUGINS__STORAGE_S3__SECRET_ACCESS_KEY", None)
        return [provide(STORAGE, self._make)]

    def _make(self, _: Services) -> S3Storage:
        self._storage = self._open()
        return self._storage

    def _open(self) -> S3Storage:
        place = f"{self.config.endpoint or 's3:/'}/{self.config.bucket}/{self.config.prefix}"
        return S3Storage(Bucket(self.config), place.rstrip("/"))

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Keep the services for `diagnose`."""
        self._services = services

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report where the files are, and whether they can be written."""
        if self._services.provider(STORAGE.name) != self.name:
            return []
        storage = self._open()
        try:
            storage.check_now()
        except Unavailable as error:
            text = f"{storage.location}: {error.message}: see [plugins.storage_s3]"
            return [Finding(name="files", text=text, state="fail")]
        return [Finding(name="files", text=storage.location)]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Watch the store, where it is the chosen one; the server starts without it, too."""
        if self._storage is not None and services.provider(STORAGE.name) == self.name:
            self._watch = StorageWatch(self._storage)
            self.tasks.every(WATCH_SECONDS, self._watch.step, "check the store")
            self.tasks.every(3600, self._storage.sweep, "sweep the store", leader=True)
        yield

    @hookimpl
    async def health(self) -> Health:
        """Report a store that cannot be written."""
        if self._watch is None:  # another engine is chosen
            return Health(name=self.name)
        return self._watch.health(self.name)
