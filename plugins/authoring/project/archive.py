"""Archives of a worker or a frontend: the same files always give the same bytes.

So the digest that a server keeps of a version says whether the code here is another.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import secrets
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from kernel.public import MAX_BODY, BadRequest
from plugins.authoring.output import Advance, show_size

PIECE: Final = 64 * 1024


class Archive:
    """A packed folder, with a digest of each file."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Read and pack the files. Raises BadRequest where they are too large."""
        self.digests: dict[str, str] = {}
        self.content = b""
        if files:
            self.content = self._pack(files)
        self.sha256 = hashlib.sha256(self.content).hexdigest()

    @property
    def summary(self) -> str:
        """Return how much it holds."""
        noun = "file" if len(self.digests) == 1 else "files"
        return f"{len(self.digests)} {noun}, {show_size(len(self.content))}"

    def _pack(self, files: Mapping[str, Path]) -> bytes:
        total = 0
        packed = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, path in sorted(files.items()):
                content = path.read_bytes()
                total += len(content)
                if total > 4 * MAX_BODY:
                    raise BadRequest(f"the files are over {show_size(4 * MAX_BODY)} together")
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                entry.mode = 0o644
                tar.addfile(entry, io.BytesIO(content))
                self.digests[name] = hashlib.sha256(content).hexdigest()
        if packed.tell() > MAX_BODY:
            raise BadRequest(
                f"the archive has {show_size(packed.tell())}, at most {show_size(MAX_BODY)} "
                "are allowed"
            )
        return packed.getvalue()

    def changes_since(self, digests: Mapping[str, str]) -> list[str]:
        """Return what differs from former digests, file by file."""
        sentences = [f"+ {name}" for name in self.digests if name not in digests]
        for name, digest in self.digests.items():
            if digests.get(name, digest) != digest:
                sentences.append(f"~ {name}")
        sentences += [f"- {name}" for name in digests if name not in self.digests]
        return sentences


class Form:
    """An archive as a multipart form with one file (RFC 7578)."""

    def __init__(self, archive: Archive) -> None:
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="archive"; '
            'filename="archive.tar.gz"\r\ncontent-type: application/gzip\r\n\r\n'
        )
        self._pieces = (head.encode(), archive.content, f"\r\n--{boundary}--\r\n".encode())
        self.size = sum(map(len, self._pieces))
        self.headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(self.size),
        }

    def body(self, advance: Advance) -> Callable[[], AsyncIterator[bytes]]:
        """Return what makes the body; each piece moves a progress bar."""
        return pieces_of(b"".join(self._pieces), advance)


def pieces_of(content: bytes, advance: Advance) -> Callable[[], AsyncIterator[bytes]]:
    """Return what makes a body of these bytes; each piece moves a progress bar."""

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(content), PIECE):
            piece = content[start : start + PIECE]
            yield piece
            advance(len(piece))

    return body
