"""Contents in memory, within a limit of bytes."""

from __future__ import annotations

from collections import OrderedDict

Key = tuple[str, int]
"""A bundle and an offset in it."""


class Memory:
    """Keeps contents until newer ones need their place: the one that was not used for longest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._contents = OrderedDict[Key, bytes]()

    def get(self, key: Key) -> bytes | None:
        """Return a content that is kept."""
        content = self._contents.get(key)
        if content is not None:
            self._contents.move_to_end(key)
        return content

    def keep(self, key: Key, content: bytes) -> None:
        """Keep a content, unless it takes the whole memory alone."""
        if key in self._contents or len(content) > self._max_bytes:
            return
        self._contents[key] = content
        self._size += len(content)
        while self._size > self._max_bytes:
            _, oldest = self._contents.popitem(last=False)
            self._size -= len(oldest)
