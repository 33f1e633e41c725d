"""The content of files, in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kernel.public import STORAGE, Plugin, Provider, Services, hookimpl, provide

from .config import StorageConfig
from .folder import BlobFolder
from .service import FolderStorage
from .threads import DiskThreads


class StoragePlugin(Plugin):
    """The default engine for STORAGE."""

    name = "storage"
    Config = StorageConfig
    config: StorageConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide STORAGE; the folder is touched only where this engine is chosen."""
        return [provide(STORAGE, self._open)]

    @asynccontextmanager
    async def _open(self, _: Services) -> AsyncGenerator[FolderStorage]:
        folder = BlobFolder(self._root, self.config.min_free_mb * 2**20)
        threads = DiskThreads(self.config.timeout)
        try:
            await threads.run(folder.prepare)
            yield FolderStorage(folder, threads)
        finally:
            threads.close()

    @property
    def _root(self) -> Path:
        if self.config.folder:
            return Path(self.config.folder).absolute()
        return self.context.data_dir / "files"
