"""What the routes need of downloads."""

from __future__ import annotations

from kernel.public import Identity, ServiceKey, Statements
from plugins.files import store

from .links import FileLinks
from .reading import FileReading


class Downloads:
    """Finds files for readers, makes links, and ends the hold of apps."""

    def __init__(self, statements: Statements, reading: FileReading, links: FileLinks) -> None:
        self._statements = statements
        self.reading = reading
        self.links = links

    async def drop(self, file_id: str) -> bool:
        """End the app's own hold of a file; return whether there was one."""
        return await store.drop(self._statements, file_id)


async def build_downloads(
    statements: Statements, reading: FileReading, identity: Identity
) -> Downloads:
    """Build it, with the key of links that all servers share."""
    key = await store.read_key(statements)
    return Downloads(statements, reading, FileLinks(key, identity, reading))


DOWNLOADS = ServiceKey[Downloads]("file_downloads")
