"""Builds a bundle from the files of an archive. All of it is blocking."""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final, cast

import brotli  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from kernel.public import ArchiveRules, BadRequest, open_plain_file, unpack_tar

from .bundle import Entry, Span, write_index
from .names import INDEX, RESERVED, find_type, is_compressible, is_left_out, normalize

MAX_FILES: Final = 10_000
RULES: Final = ArchiveRules(max_bytes=200_000_000, leave_out=is_left_out)
SMALLEST: Final = 512
"""Bytes of the smallest file that is compressed: it fits into one packet as it is."""
LARGEST: Final = 32 * 1024 * 1024
"""Bytes of the largest one: it is in memory for that."""
WORTH: Final = 0.9
"""What a compressed file may have of the size of the plain one."""
SECONDS: Final = 20.0
"""After so long the remaining files are sent as they are."""
PIECE: Final = 1_000_000


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was built: its digest, and the names that were left out."""

    digest: str
    ignored: Sequence[str]


def build(archive: Path, folder: Path, target: Path) -> Built:
    """Build a bundle from an archive, which is unpacked into an empty folder.

    Raises BadRequest that says what is wrong.
    """
    unpacked = unpack_tar(archive, folder, RULES)
    if unpacked.files > MAX_FILES:
        raise BadRequest(f"the archive holds more than {MAX_FILES:,} files")
    root = find_root(folder)
    paths = list(_walk(root, ""))
    for path in paths:
        top = path.partition("/")[0].casefold()
        if top in RESERVED:
            problem = f"{top}: the server answers this name itself on the host of an app"
            raise BadRequest(f"{problem}; rename it in the archive")
    with target.open("xb") as file, ThreadPoolExecutor(2) as threads:
        entries = _Writing(file, threads).write_files(root, paths)
        write_index(file, entries)
        file.flush()
        os.fsync(file.fileno())
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Built(digest=digest, ignored=unpacked.ignored)


def find_root(folder: Path) -> Path:
    """Return the folder with index.html: the top, or the one folder in it. Raises BadRequest."""
    if (folder / INDEX).is_file():
        return folder
    inner = list(folder.iterdir())
    if len(inner) != 1 or not (inner[0] / INDEX).is_file():
        raise BadRequest(f"the archive has no {INDEX} at its top, or in the one folder of it")
    return inner[0]


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the paths of files in a stable order: the same site is the same bundle."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{path}/")
        else:
            yield path


class _Writing:
    """One run over the files of a frontend."""

    def __init__(self, file: IO[bytes], threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads
        self._deadline = time.monotonic() + SECONDS

    def write_files(self, root: Path, paths: Sequence[str]) -> list[Entry]:
        """Write all contents, and return the index. Raises BadRequest for a path given twice."""
        entries = dict[str, Entry]()
        for path in paths:
            name = normalize(path)
            if name in entries:
                raise BadRequest(f"{name!a}: it is in the archive twice")
            entries[name] = self._write_file(root / path, name)
        return list(entries.values())

    def _write_file(self, source: Path, name: str) -> Entry:
        with open_plain_file(source) as stream:
            size = os.fstat(stream.fileno()).st_size
            is_timely = time.monotonic() < self._deadline
            if SMALLEST <= size <= LARGEST and is_timely and is_compressible(find_type(name)):
                return self._write_compressed(name, stream.read())
            digest = hashlib.sha256()
            offset = self._file.tell()
            while piece := stream.read(PIECE):
                digest.update(piece)
                self._file.write(piece)
        return Entry(name, digest.hexdigest(), Span(offset, self._file.tell() - offset))

    def _write_compressed(self, name: str, content: bytes) -> Entry:
        """Write a file plain and compressed; both compressions take a thread at the same time."""
        waiting: Mapping[str, Future[bytes]] = {
            encoding: self._threads.submit(compress, content)
            for encoding, compress in COMPRESSIONS.items()
        }
        plain = self._write_span(content)
        compressed = dict[str, Span]()
        for encoding, future in waiting.items():
            body = future.result()
            if len(body) <= WORTH * len(content):
                compressed[encoding] = self._write_span(body)
        return Entry(name, hashlib.sha256(content).hexdigest(), plain, compressed)

    def _write_span(self, content: bytes) -> Span:
        offset = self._file.tell()
        self._file.write(content)
        return Span(offset, len(content))


def _compress_brotli(content: bytes) -> bytes:
    """Level 5 is as fast as gzip, and a sixth smaller. Level 11 would take a minute for 5 MB."""
    packed = brotli.compress(content, quality=5)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return cast("bytes", packed)


def _compress_gzip(content: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return compressor.compress(content) + compressor.flush()


COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "br": _compress_brotli,
    "gzip": _compress_gzip,
}
"""The compressions that browsers know, as in `bundle.ENCODINGS`."""
