"""Unpacks what an app sends: tar.gz (POSIX pax and GNU tar), read once and not trusted.

`tarfile` parses the headers; the loop over them is our own. The readers of `tarfile` hold a header
of any size in memory, and search it with expressions that take quadratic time before Python 3.11.10
(CVE-2024-6232: 64 kB of digits stop the whole server for 13 seconds). Its extraction filters differ
between versions of Python. No link of any kind is made, so nothing can be written through one
(CVE-2025-4517, CVE-2025-45582).
"""

from __future__ import annotations

import gzip
import os
import tarfile
import time
import unicodedata
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from kernel.public import BadRequest

MAX_ENTRIES: Final = 20_000
MAX_BYTES: Final = 512 * 1024 * 1024
MAX_STREAM: Final = MAX_BYTES + 64 * 1024 * 1024
"""Size of the tar file itself, with headers, padding and what is skipped."""

MAX_SYNCED: Final = 200
"""Files that are synced one by one; after more of them all are synced at the end."""

OURS: Final = ".caudex"
"""A folder at the top where the server keeps what it adds."""

_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_EXTRA: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG: Final = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def unpack(archive: Path, folder: Path, seconds: float = 60.0) -> None:
    """Unpack an archive into a new, empty folder. Raises BadRequest that says what is wrong.

    What was written before an error remains; the caller deletes the folder.
    """
    deadline = time.monotonic() + seconds
    with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw) as stream:
        root = os.open(folder, _FOLDER)
        try:
            _Unpacking(_Tar(stream, deadline), root).run()
        except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.HeaderError):
            raise BadRequest("the archive is not a whole tar.gz file") from None
        except UnicodeDecodeError:
            raise BadRequest("the archive has a name that is not UTF-8") from None
        finally:
            os.close(root)


class _Tar:
    """The bytes of a tar file, with a budget and a deadline."""

    def __init__(self, stream: gzip.GzipFile, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._left = MAX_STREAM

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes. Raises EOFError where the file ends before."""
        self._check(size)
        data = self._stream.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def drain(self) -> None:
        """Read to the end, where gzip has its checksum."""
        while data := self._stream.read(256 * 1024):
            self._check(len(data))

    def _check(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise BadRequest(f"the archive holds more than {MAX_BYTES // 2**20} MB")
        if time.monotonic() > self._deadline:
            raise BadRequest("the archive takes too long to unpack")


class _Unpacking:
    """One run over an archive."""

    def __init__(self, tar: _Tar, root: int) -> None:
        self._tar = tar
        self._root = root
        self._seen: dict[str, tuple[str, bool]] = {}
        """Case-folded path to the path as it was spelled, and whether it is a folder."""
        self._files = 0
        self._left = MAX_BYTES

    def run(self) -> None:
        """Unpack everything."""
        for_all: dict[str, str] = {}  # from pax headers for every entry that follows
        for_next: dict[str, str] = {}
        while True:
            block = self._tar.read(tarfile.BLOCKSIZE)
            if block.count(0) == tarfile.BLOCKSIZE:  # the end
                break
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if info.type == tarfile.XGLTYPE:
                for_all.update(_parse_pax(self._read_header(info)))
            elif info.type in _EXTRA:
                for_next.update(_parse_pax(self._read_header(info)))
            elif info.type in _LONG:
                for_next[_LONG[info.type]] = self._read_header(info).rstrip(b"\0").decode()
            else:
                self._unpack_entry(info, for_all | for_next)
                for_next = {}
        self._tar.drain()
        if self._files > MAX_SYNCED:
            os.sync()

    def _read_header(self, info: tarfile.TarInfo) -> bytes:
        """Read what an extended header holds."""
        if info.size > 64 * 1024:
            raise BadRequest("the archive has a header that is too large")
        return self._tar.read(info.size + -info.size % tarfile.BLOCKSIZE)[: info.size]

    def _unpack_entry(self, info: tarfile.TarInfo, attributes: Mapping[str, str]) -> None:
        size = _find_size(info, attributes)
        path = attributes.get("path", info.name)
        if info.type not in _REGULAR and info.type != tarfile.DIRTYPE:
            raise BadRequest(f"{_shorten(path)}: only files and folders may be in the archive")
        if "GNU.sparse" in attributes:
            raise BadRequest(f"{_shorten(path)}: sparse files may not be in the archive")
        self._left -= size
        if self._left < 0:
            raise BadRequest(f"the archive holds more than {MAX_BYTES // 2**20} MB")
        parts = split_path(path)
        if not parts or parts[-1].startswith("._"):
            self._copy(None, size)
        elif info.type == tarfile.DIRTYPE or path.endswith("/"):  # so did tar before POSIX
            self._note(parts, is_folder=True)
            os.close(self._open_folder(parts))
            self._copy(None, size)
        else:
            self._note(parts, is_folder=False)
            self._write(parts, size, executable=bool(info.mode & 0o111))
        self._tar.read(-size % tarfile.BLOCKSIZE)

    def _note(self, parts: list[str], *, is_folder: bool) -> None:
        """Count new entries, and refuse repeated ones, also those that differ in case only."""
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            entry = (path, depth < len(parts) or is_folder)
            earlier = self._seen.setdefault(_fold(path), entry)
            if earlier is entry:
                continue
            is_same_folder = earlier == entry and entry[1]
            if not is_same_folder:
                raise BadRequest(f"{_shorten(path)}: it is in the archive twice")
        if len(self._seen) > MAX_ENTRIES:
            raise BadRequest(f"the archive holds more than {MAX_ENTRIES} files and folders")

    def _open_folder(self, parts: list[str]) -> int:
        """Open a folder below the root, making what is missing and following no link."""
        folder = os.dup(self._root)
        for name in parts:
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
                child = os.open(name, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = child
        return folder

    def _write(self, parts: list[str], size: int, *, executable: bool) -> None:
        mode = 0o755 if executable else 0o644
        folder = self._open_folder(parts[:-1])
        try:
            target = os.open(parts[-1], _NEW_FILE, mode, dir_fd=folder)
        finally:
            os.close(folder)
        self._files += 1
        with os.fdopen(target, "wb", buffering=0) as file:
            os.fchmod(target, mode)
            self._copy(file, size)
            if self._files <= MAX_SYNCED:
                os.fsync(target)

    def _copy(self, file: IO[bytes] | None, size: int) -> None:
        while size > 0:
            data = self._tar.read(min(size, 256 * 1024))
            size -= len(data)
            if file is not None:
                file.write(data)


def _find_size(info: tarfile.TarInfo, attributes: Mapping[str, str]) -> int:
    size = info.size
    text = attributes.get("size")
    if text is not None:
        if not (text.isascii() and text.isdecimal() and len(text) < 20):
            raise BadRequest("the archive has an entry without a proper size")
        size = int(text)
    if size < 0:
        raise BadRequest("the archive has an entry of negative size")
    return size


def _parse_pax(data: bytes) -> dict[str, str]:
    """Parse the records `<length> <key>=<value>\\n` of a pax header (POSIX.1-2017, pax, 4.18.7)."""
    attributes: dict[str, str] = {}
    while data.rstrip(b"\0"):
        digits = data[:10].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[len(digits) + 1 : length]
        key, separator, value = record.partition(b"=")
        if not separator or len(data) < length or not value.endswith(b"\n"):
            raise BadRequest("the archive has a pax header that cannot be read")
        if key.startswith(b"GNU.sparse"):
            key = b"GNU.sparse"
        name = key.decode()
        if name in ("path", "size", "GNU.sparse"):
            attributes[name] = value[:-1].decode()
        data = data[length:]
    return attributes


def split_path(path: str) -> list[str]:
    """Split a path of an archive into names. Raises BadRequest if it is not allowed."""
    if len(path.encode()) > 1024:
        raise BadRequest(f"{_shorten(path)}: a path may have 1024 bytes at most")
    if path.startswith("/") or "\\" in path:
        raise BadRequest(f"{_shorten(path)}: paths must be relative, with plain slashes")
    if any(unicodedata.category(letter)[0] == "C" for letter in path):
        raise BadRequest(f"{_shorten(path)}: a path may not hold control characters")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadRequest(f"{_shorten(path)}: a path may not lead out of the archive")
    if any(len(part.encode()) > 255 for part in parts) or len(parts) > 32:
        raise BadRequest(f"{_shorten(path)}: the path is too deep, or a name in it too long")
    if parts and _fold(parts[0]) == OURS:
        raise BadRequest(f"{_shorten(path)}: the folder {OURS} is the server's own")
    return parts


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _shorten(path: str) -> str:
    """Return a path as it can be shown."""
    if len(path) > 80:
        path = f"{path[:77]}..."
    return ascii(path)
