"""The backups in a folder: their list, and one of them to send."""

from __future__ import annotations

import io
import re
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from kernel.public import BadRequest, Forbidden, NotFound, open_plain_file
from plugins.backup.archive import ABOUT, About

from .models import BackupFile

NAME: Final = re.compile(r"caudex-(\d{8}T\d{6}Z)\.tar(\.enc)?")
TIME: Final = "%Y%m%dT%H%M%SZ"
MAX_FILES: Final = 1000
MAX_ABOUT: Final = 10_000_000
"""Bytes of the description in a backup: the counts of many tables."""
HAS_KEYS: Final = "this backup holds the keys of the server: copy it on the machine itself"


def list_backups(folder: Path, verified_file: str | None) -> list[BackupFile]:
    """List the backups of a folder, the newest first. Other files are left out."""
    try:
        names = sorted((path.name for path in folder.iterdir()), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = [match for match in map(NAME.fullmatch, names) if match is not None]
    files: list[BackupFile] = []
    for match in matches[:MAX_FILES]:
        file = _describe(folder / match[0], match, verified_file)
        if file is not None:
            files.append(file)
    return files


def _describe(path: Path, match: re.Match[str], verified_file: str | None) -> BackupFile | None:
    try:
        status = path.lstat()
        made_at = datetime.strptime(match[1], TIME).replace(tzinfo=UTC)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return BackupFile(
        name=path.name,
        size=status.st_size,
        made_at=made_at.isoformat(),
        encrypted=match[2] is not None,
        verified=str(path) == verified_file,
    )


def find_backup(folder: Path, name: str) -> Path:
    """Return the path of a backup. Raises NotFound for any other name."""
    path = folder / name
    if NAME.fullmatch(name) is None or not path.is_file():
        raise NotFound(f"there is no backup '{name[:80]}' on this machine")
    return path


class OpenBackup(NamedTuple):
    """A backup that is open to be read, and its bytes."""

    stream: io.BufferedReader
    size: int


def open_backup(folder: Path, name: str) -> OpenBackup:
    """Open a backup to send it. Raises NotFound, BadRequest.

    Raises Forbidden for one that holds the keys of the server in clear: who has them reads every
    secret and signs any token.
    """
    path = find_backup(folder, name)
    try:
        stream = open_plain_file(path)
    except FileNotFoundError:
        raise NotFound(f"there is no backup '{name[:80]}' on this machine") from None
    try:
        if not name.endswith(".enc") and _read_about(stream).keys:
            raise Forbidden(HAS_KEYS)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
    except BaseException:
        stream.close()
        raise
    return OpenBackup(stream, size)


def _read_about(stream: io.BufferedReader) -> About:
    """Read the description of a backup, which is its first member. Raises BadRequest."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            member = tar.next()
            is_description = member is not None and member.name == ABOUT
            content = None
            if member is not None and is_description and member.size <= MAX_ABOUT:
                content = tar.extractfile(member)
            if content is not None:
                return msgspec.json.decode(content.read(), type=About)
    except (tarfile.TarError, msgspec.MsgspecError) as error:
        raise BadRequest(f"this is no backup of Caudex, or is cut off: {error}") from None
    raise BadRequest("this is no backup of Caudex")
