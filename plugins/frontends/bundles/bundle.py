"""A bundle: all files of a frontend as they are sent, in one file whose name is its SHA-256.

First come the contents, one after the other, then an index, then the length of the index in eight
bytes. Names of files are in the index only: none of them is ever a path of this machine.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Final

import msgspec

TRAILER: Final = 8
ENCODINGS: Final = ("br", "gzip")
"""The encodings that a bundle may have beside the plain content, the best first."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A part of a bundle."""

    offset: int
    size: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A file: its path, the SHA-256 of its content, and where that is, plain and compressed."""

    path: str
    digest: str
    plain: Span
    compressed: Mapping[str, Span] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Entry]).decode


def write_index(file: IO[bytes], entries: Iterable[Entry]) -> None:
    """Finish a bundle."""
    index = _encode(list(entries))
    file.write(index)
    file.write(len(index).to_bytes(TRAILER, "big"))


class Bundle:
    """An open bundle. It is closed when nothing holds it any more, such as a reply under way."""

    def __init__(self, path: Path) -> None:
        """Open a bundle. Raises OSError, ValueError for a file that is no bundle."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._fd)
        self.name = path.name
        self.entries: Mapping[str, Entry] = {entry.path: entry for entry in self._read_index()}

    def read(self, span: Span) -> bytes:
        """Read a part. Blocking. Raises OSError, ValueError where the file is cut off."""
        data = os.pread(self._fd, span.size, span.offset)
        if len(data) != span.size:
            raise ValueError("the bundle is not whole")
        return data

    def _read_index(self) -> list[Entry]:
        end = os.fstat(self._fd).st_size - TRAILER
        if end < 0:
            raise ValueError("the bundle is not whole")
        size = int.from_bytes(self.read(Span(end, TRAILER)), "big")
        if size > end:
            raise ValueError("the bundle is not whole")
        return _decode(self.read(Span(end - size, size)))
