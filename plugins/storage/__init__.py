"""The content of files, in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kernel.public import (
    STORAGE,
    WATCH_SECONDS,
    BootError,
    DatabaseQuery,
    Finding,
    Health,
    Plugin,
    Provider,
    Services,
    StorageWatch,
    hookimpl,
    provide,
)

from .config import StorageConfig
from .diagnosis import examine_folder
from .folder import BlobFolder
from .service import FolderStorage
from .threads import DiskThreads


class StoragePlugin(Plugin):
    """The default engine for STORAGE."""

    name = "storage"
    Config = StorageConfig
    config: StorageConfig
    _services: Services
    _threads: DiskThreads | None = None
    _watch: StorageWatch | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide STORAGE; the folder is touched only where this engine is chosen."""
        return [provide(STORAGE, self._make)]

    def _make(self, _: Services) -> FolderStorage:
        """Make the engine. It needs nothing else, so that commands can have it early."""
        folder = self._folder
        try:
            folder.prepare()
        except OSError as error:
            problem = f"the folder of files cannot be used: {error.strerror}: {folder.root}"
            remedy = "give it to the account of the server, or name another one"
            raise BootError("[plugins.storage] folder", problem, remedy) from None
        self._threads = DiskThreads(self.config.timeout)
        storage = FolderStorage(folder, self._threads)
        self._watch = StorageWatch(storage)
        return storage

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Keep the services for `diagnose`."""
        self._services = services

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Watch the folder, where this engine is chosen."""
        if self._watch is not None:
            self.tasks.every(WATCH_SECONDS, self._watch.step, "check the folder")
        yield
        if self._threads is not None:
            self._threads.close()

    @hookimpl
    async def health(self) -> Health:
        """Report a folder that cannot be written, or is full."""
        if self._watch is None:  # another engine is chosen
            return Health(name=self.name)
        return self._watch.health(self.name)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report where the files are, and the room for more."""
        if self._services.provider(STORAGE.name) != self.name:
            return []
        return [examine_folder(self._folder)]

    @property
    def _folder(self) -> BlobFolder:
        root = self.context.data_dir / "files"
        if self.config.folder:
            root = Path(self.config.folder).absolute()
        return BlobFolder(root, self.config.min_free_mb * 2**20)
