"""Finds the file for a path in the bundles of a frontend."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Final

import msgspec
from anyio import to_thread

from kernel.public import InvalidatedCache, Notifications
from plugins.frontends.bundles.bundle import Bundle, Entry, Span
from plugins.frontends.bundles.names import INDEX, has_hash, normalize
from plugins.frontends.bundles.shelf import Shelf
from plugins.frontends.store import TOPIC

from .directory import Frontend
from .memory import Memory

MAX_OPEN: Final = 64
"""Bundles that a process has open."""
MAX_IN_MEMORY: Final = 1_000_000
"""Bytes of the largest content that is kept in memory and sent in one piece."""
SCRIPT_UNDER: Final = rb"<script\b[^<>]{0,500}\ssrc=[\"']?%b"
"""A script of a page, where its path begins with a base. The bound keeps the search linear."""


class SiteFile(msgspec.Struct, frozen=True):
    """A file and the bundle that it is in."""

    bundle: Bundle
    entry: Entry


class Sites:
    """The bundles that are open, and their contents in memory."""

    def __init__(self, shelf: Shelf, notifications: Notifications, memory: Memory) -> None:
        self._shelf = shelf
        self._memory = memory
        # A bundle never changes, so no notification is about one.
        self._open = InvalidatedCache[str, Bundle](
            notifications, TOPIC, size=MAX_OPEN, affects=lambda payload, key, value: False
        )

    async def find(self, frontend: Frontend, path: str) -> SiteFile | None:
        """Return the file that answers a path, without its first slash.

        A path whose last name has no extension is a place within the app: index.html answers it.
        Hashed files of versions that were in service until lately are found as well: a page that
        was loaded before a deploy still asks for them. Raises Unavailable.
        """
        name = normalize(path)
        bundle = await self._get(frontend.bundle)
        entry = bundle.entries.get(name)
        if entry is None and (not name or name.endswith("/")):
            entry = bundle.entries.get(f"{name}{INDEX}")
        if entry is not None:
            return SiteFile(bundle, entry)
        if not _is_plain(name):
            return None
        if "." not in name.rpartition("/")[2]:
            return SiteFile(bundle, bundle.entries[INDEX])
        if frontend.former and has_hash(name):
            return await self._find_former(frontend, name)
        return None

    async def is_built_for(self, page: SiteFile, base: str) -> bool:
        """Whether the scripts of a page are under a base, such as `/apps/crm/`."""
        if page.entry.plain.size > MAX_IN_MEMORY:
            return False
        content = await self.read(page.bundle, page.entry.plain)
        script = SCRIPT_UNDER % re.escape(base.encode())
        return re.search(script, content) is not None

    async def read(self, bundle: Bundle, span: Span) -> bytes:
        """Return a content of at most MAX_IN_MEMORY bytes."""
        key = (bundle.name, span.offset)
        content = self._memory.get(key)
        if content is None:
            content = await to_thread.run_sync(bundle.read, span)
            self._memory.keep(key, content)
        return content

    async def read_piece(self, bundle: Bundle, span: Span) -> bytes:
        """Return a part of a large content, which is not kept in memory."""
        return await to_thread.run_sync(bundle.read, span)

    async def _find_former(self, frontend: Frontend, name: str) -> SiteFile | None:
        now = time.time()
        for former in frontend.former:
            if former.until < now:
                continue
            bundle = await self._get(former.bundle)
            entry = bundle.entries.get(name)
            if entry is not None:
                return SiteFile(bundle, entry)
        return None

    async def _get(self, name: str) -> Bundle:
        bundle = self._open.get(name)
        if bundle is not None:
            return bundle
        return await self._open.get_or_load(name, partial(self._shelf.open, name))


def _is_plain(name: str) -> bool:
    """Whether a path is one that a page can ask for; browsers resolve dots by themselves."""
    return "\\" not in name and "\0" not in name and ".." not in name.split("/")
