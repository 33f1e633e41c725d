"""Unpacks tar.gz (POSIX pax and GNU tar), read once and not trusted.

`tarfile` parses the headers; the loop over them is our own. The readers of `tarfile` hold a header
of any size in memory, and search it with expressions that take quadratic time before Python 3.11.10
(CVE-2024-6232: 64 kB of digits stop the whole server for 13 seconds). Its extraction filters differ
between versions of Python. No link of any kind is made, so nothing can be written through one
(CVE-2025-4517, CVE-2025-45582).
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kernel.errors import BadRequest

from .archives import ArchiveRules, shorten
from .target import ArchiveTarget, Entry, Unpacked, open_target

MAX_OVERHEAD: Final = 64 * 2**20
"""Bytes of a tar file beside its content: headers and padding."""

_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_EXTRA: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG: Final = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}


def unpack_tar(archive: Path, folder: Path, rules: ArchiveRules) -> Unpacked:
    """Unpack a tar.gz into a new, empty folder. Raises BadRequest that says what is wrong.

    It blocks. What was written before an error remains; the caller deletes the folder.
    """
    with (
        archive.open("rb") as raw,
        gzip.GzipFile(fileobj=raw) as stream,
        open_target(folder, rules) as target,
    ):
        try:
            _Tar(_Stream(stream, rules, target), target).unpack()
        except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.HeaderError):
            raise BadRequest("the archive is not a whole tar.gz file") from None
        except UnicodeDecodeError:
            raise BadRequest("the archive has a name that is not UTF-8") from None
        return target.finish()


class _Stream:
    """The bytes of a tar file, with a budget and a deadline."""

    def __init__(self, stream: gzip.GzipFile, rules: ArchiveRules, target: ArchiveTarget) -> None:
        self._stream = stream
        self._rules = rules
        self._target = target
        self._left = rules.max_bytes + min(MAX_OVERHEAD, 4096 * (rules.max_entries + 64))

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
            raise self._rules.refuse_size()
        self._target.check_time()


class _Tar:
    """One run over a tar file."""

    def __init__(self, stream: _Stream, target: ArchiveTarget) -> None:
        self._stream = stream
        self._target = target

    def unpack(self) -> None:
        """Unpack everything."""
        for_all: dict[str, str] = {}  # from pax headers for every entry that follows
        for_next: dict[str, str] = {}
        while True:
            block = self._stream.read(tarfile.BLOCKSIZE)
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
        self._stream.drain()

    def _read_header(self, info: tarfile.TarInfo) -> bytes:
        """Read what an extended header holds."""
        if info.size > 64 * 1024:
            raise BadRequest("the archive has a header that is too large")
        return self._stream.read(info.size + -info.size % tarfile.BLOCKSIZE)[: info.size]

    def _unpack_entry(self, info: tarfile.TarInfo, attributes: Mapping[str, str]) -> None:
        size = _find_size(info, attributes)
        path = attributes.get("path", info.name)
        if info.type not in _REGULAR and info.type != tarfile.DIRTYPE:
            raise BadRequest(f"{shorten(path)}: only files and folders may be in the archive")
        if "GNU.sparse" in attributes:
            raise BadRequest(f"{shorten(path)}: sparse files may not be in the archive")
        entry = Entry(
            path=path,
            size=size,
            is_folder=info.type == tarfile.DIRTYPE or path.endswith("/"),  # tar before POSIX
            is_executable=bool(info.mode & 0o111),
        )
        self._target.unpack(entry, self._stream.read)
        self._stream.read(-size % tarfile.BLOCKSIZE)


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
