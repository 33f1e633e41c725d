"""What an archive may hold: sizes, counts, paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kernel.errors import BadRequest

MAX_PATH: Final = 1024
MAX_NAME: Final = 255
MAX_DEPTH: Final = 32


def is_junk(parts: Sequence[str]) -> bool:
    """Whether a path is one that macOS adds to archives."""
    name = parts[-1]
    return parts[0] == "__MACOSX" or name == ".DS_Store" or name.startswith("._")


class ArchiveRules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of an archive. The size of the archive itself is that of its upload.

    `max_bytes` is of all its files, left out or not, and `max_entries` counts files and folders.
    Unpacking ends after `seconds`.
    `reserved` are names that it may not have at the top, in any case of letters. Entries for which
    `leave_out` is true are not unpacked; it gets the names on the path. It may call `is_junk`.
    """

    max_bytes: int = 512 * 2**20
    max_entries: int = 20_000
    seconds: float = 60.0
    reserved: frozenset[str] = frozenset()
    leave_out: Callable[[Sequence[str]], bool] = is_junk

    def split_path(self, path: str) -> list[str]:
        """Split a path of an archive into names. Raises BadRequest if it is not allowed."""
        if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
            raise BadRequest(f"{shorten(path)}: a path may have {MAX_PATH} bytes at most")
        if path.startswith("/") or "\\" in path:
            raise BadRequest(f"{shorten(path)}: paths must be relative, with plain slashes")
        if any(unicodedata.category(letter)[0] == "C" for letter in path):
            raise BadRequest(f"{shorten(path)}: a path may not hold control characters")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise BadRequest(f"{shorten(path)}: a path may not lead out of the archive")
        if any(len(part.encode()) > MAX_NAME for part in parts) or len(parts) > MAX_DEPTH:
            raise BadRequest(f"{shorten(path)}: the path is too deep, or a name in it too long")
        if parts and fold(parts[0]) in self.reserved:
            raise BadRequest(f"{shorten(path)}: {parts[0]} is the server's own")
        return parts

    def refuse_size(self) -> BadRequest:
        """Return the error for an archive that holds too much."""
        return BadRequest(f"the archive holds more than {self.max_bytes / 2**20:.4g} MB")


def fold(path: str) -> str:
    """Return what two names share that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def shorten(path: str) -> str:
    """Return a path as it can be shown."""
    if len(path) > 80:
        path = f"{path[:77]}..."
    return ascii(path)
