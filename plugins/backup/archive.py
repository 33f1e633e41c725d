"""A backup file: a tar of the dump, a description of it, files, and the keys on request."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from kernel.public import BadRequest

from .sealing import opened, sealed

ABOUT: Final = "about.json"
DUMP: Final = "database.dump"
KEYS: Final = "keys"
FILES: Final = "files/"
"""Before the hash of a file's content."""
KEY: Final = re.compile(r"\w[\w.-]*\.key", re.ASCII)
"""What a file of a key may be called: never a path."""


class ArchivedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup has of the files: all of the store at `location`, or none of them."""

    location: str
    is_included: bool
    count: int = 0
    size: int = 0


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; `made_at` is RFC 3339 text, `roles` get rights within it.

    `counts` are the rows of each table as the dump has them.
    """

    caudex: str
    made_at: str
    keys: list[str] = []
    roles: list[str] = []
    counts: dict[str, int] = {}
    files: ArchivedFiles | None = None
    format: int = 1


def pack(
    file: Path,
    about: About,
    dump: Path,
    keys: list[Path],
    key: bytes | None = None,
    files: Iterable[tuple[str, Path]] = (),
) -> None:
    """Write a backup: beside the dump, with mode 0600, then into place in one step.

    With a `key` it is encrypted. `files` are hashes with the places of the content; one that was
    deleted meanwhile is left out.
    """
    aside = dump.with_name("backup.partial")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            with sealed(stream, key) as out, tarfile.open(fileobj=out, mode="w|") as tar:
                _add_text(tar, ABOUT, msgspec.json.encode(about), dump.parent)
                tar.add(dump, DUMP, filter=_plain)
                for key_file in keys:
                    tar.add(key_file, f"{KEYS}/{key_file.name}", filter=_plain)
                for sha256, path in files:
                    with suppress(FileNotFoundError):
                        tar.add(path, f"{FILES}{sha256}", filter=_plain)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def unpack(file: Path, folder: Path, key: bytes | None = None) -> About:
    """Unpack the known members of a backup into a folder, and check those of `FILES` in place.

    Raises BadRequest for anything else, and OSError where the folder cannot be written.
    """
    try:
        with (
            file.open("rb") as stream,
            opened(stream, key) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            for member in tar:
                _unpack_one(tar, member, folder)
        about = _read_about(folder)
    # A name that comes twice; one that is no name.
    except (FileExistsError, ValueError, tarfile.TarError, msgspec.MsgspecError) as error:
        raise BadRequest(f"{file} is no backup of Caudex, or is cut off: {error}") from None
    if about.format != 1 or not (folder / DUMP).is_file():
        raise BadRequest(f"{file} was made by another version of Caudex")
    return about


def read_files(file: Path, key: bytes | None = None) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield hash and content of each file in a backup that `unpack` has checked."""
    with (
        file.open("rb") as stream,
        opened(stream, key) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        for member in tar:
            content = tar.extractfile(member)
            if content is not None and member.name.startswith(FILES):
                yield member.name.removeprefix(FILES), content


def _check_file(content: IO[bytes], sha256: str) -> None:
    digest = hashlib.sha256()
    while piece := content.read(1 << 20):
        digest.update(piece)
    if digest.hexdigest() != sha256:
        raise tarfile.TarError(f"the file {sha256[:80]!r} is damaged")


def _read_about(folder: Path) -> About:
    if not (folder / ABOUT).is_file():
        raise tarfile.TarError(f"it lacks {ABOUT}")
    about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    for name in about.keys:
        if not (KEY.fullmatch(name) and (folder / KEYS / name).is_file()):
            raise tarfile.TarError(f"it lacks the key {name!r}")
    return about


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    plain = member.name.removeprefix(f"{KEYS}/").removeprefix(FILES)
    if not member.isfile() or "/" in plain or plain.startswith("."):
        raise tarfile.TarError(f"unexpected member {member.name!r}")
    source = tar.extractfile(member)
    if source is None:
        raise tarfile.TarError(f"unreadable member {member.name!r}")
    if member.name.startswith(FILES):
        _check_file(source, member.name.removeprefix(FILES))
        return
    target = folder / member.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source, os.fdopen(handle, "wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)


def _add_text(tar: tarfile.TarFile, name: str, text: bytes, folder: Path) -> None:
    path = folder / name
    path.write_bytes(text)
    tar.add(path, name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner of the files."""
    member.uid = 0
    member.gid = 0
    member.uname = ""
    member.gname = ""
    member.mode = 0o600
    return member
