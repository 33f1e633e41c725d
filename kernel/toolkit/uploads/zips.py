"""Unpacks zip files, not trusted.

`zipfile` reads the directory at the end of the file into memory, however long it is. So its size
and the number of its entries are looked at before. Zip64 is refused: it is for files beyond 4 GB.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

from kernel.errors import BadRequest

from .archives import ArchiveRules, shorten
from .target import ArchiveTarget, Entry, Unpacked, open_target

MAX_DIRECTORY: Final = 4 * 2**20
"""Bytes of the directory at the end."""

_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_ZIP64_MARK: Final = b"PK\x06\x07"
_ZIP64_SIZE: Final = 20
_MAX_COMMENT: Final = 65_535
_IS_UTF8: Final = 0x800
_IS_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN: Final = (
    EOFError, NotImplementedError, OverflowError, RuntimeError, ValueError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def unpack_zip(archive: Path, folder: Path, rules: ArchiveRules) -> Unpacked:
    """Unpack a zip file into a new, empty folder. Raises BadRequest that says what is wrong.

    It blocks. What was written before an error remains; the caller deletes the folder.
    """
    with archive.open("rb") as file, open_target(folder, rules) as target:
        try:
            _check_directory(file, rules)
            with zipfile.ZipFile(file) as packed:
                for info in packed.infolist():
                    _unpack_entry(packed, info, target)
        except _BROKEN:
            raise BadRequest("the archive is not a whole zip file") from None
        return target.finish()


def _check_directory(file: IO[bytes], rules: ArchiveRules) -> None:
    """Check the size of the directory before anything reads it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END.size - _MAX_COMMENT - _ZIP64_SIZE)
    file.seek(start)
    tail = file.read()
    position = tail.rfind(_END_MARK)
    if position < 0:
        raise EOFError
    end_record = _END.unpack_from(tail, position)
    count = end_record[4]
    length = end_record[5]
    if tail[max(0, position - _ZIP64_SIZE) : position].startswith(_ZIP64_MARK):
        raise BadRequest("the archive is in the format zip64, which is not supported")
    if count > 2 * rules.max_entries:  # macOS adds a file of its own to each
        raise BadRequest(f"the archive holds more than {rules.max_entries} files and folders")
    if length > MAX_DIRECTORY:
        raise BadRequest("the archive has a directory that is too large")


def _unpack_entry(packed: zipfile.ZipFile, info: zipfile.ZipInfo, target: ArchiveTarget) -> None:
    if info.header_offset < 0:  # before the file
        raise EOFError
    path = _decode_name(info)
    mode = info.external_attr >> 16  # that of the file system, from tools on Unix
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadRequest(f"{shorten(path)}: only files and folders may be in the archive")
    if info.flag_bits & _IS_ENCRYPTED:
        raise BadRequest(f"{shorten(path)}: it is encrypted")
    if info.compress_type not in _METHODS:
        raise BadRequest(f"{shorten(path)}: pack it with the method deflate")
    entry = Entry(
        path=path,
        size=info.file_size,
        is_folder=path.endswith("/"),
        is_executable=bool(mode & 0o111),
    )
    with packed.open(info) as content:

        def read(size: int) -> bytes:
            data = content.read(size)
            if len(data) != size:
                raise EOFError
            return data

        target.unpack(entry, read)
        if content.read(1):  # and the checksum is compared
            raise EOFError


def _decode_name(info: zipfile.ZipInfo) -> str:
    """Return the name as UTF-8, which macOS writes without saying so."""
    if info.flag_bits & _IS_UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode()
    except UnicodeError:
        raise BadRequest("the archive has a name that is not UTF-8") from None
