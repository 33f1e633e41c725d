"""The folders of apps, `<data-dir>/workers/<app>/`, with owners that keep apps apart.

As root, the code of an app belongs to root, and only the app's account can read it; `home` and
`tmp` belong to that account. A release appears under its name in one step, complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Collection, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from kernel.public import BadRequest, Unavailable
from plugins.workers.isolation.sandbox import Place
from plugins.workers.models import Release

from .safe_removal import SCARCE, remove, walk
from .unpack import OURS, unpack

SDK: Final = Path(__file__).parents[1] / "sdk"
SDK_FILES: Final = {"caudex_worker.py": "caudex_worker.py", "prelude.js": "prelude.cjs"}
"""What is copied, and under which name: node needs `.cjs` to know the kind of module."""

STALE: Final = 3600.0
"""Age in seconds at which a start removes what a server left unfinished."""

SWEEPING: Final = 30.0
"""Seconds that a start may take for that."""

OWNER: Final = "owner"
"""File in an app's folder with the database of the app and its number there."""

_AS_IT_IS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

log = structlog.get_logger("caudex.workers")


class Folders:
    """Makes and removes the folders. Blocking: used on threads."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.base = data_dir / "workers"
        texts = [(SDK / name).read_bytes() for name in SDK_FILES]
        self.sdk = self.base / f".sdk-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
        """What workers import: a copy, because workers may not reach the original."""
        self.servers = self.base / ".servers"
        self.database = ""
        """The name of our database. Folders of another database's apps are not touched, and while
        the name is not known no folder is removed as left over."""

    def prepare(self) -> None:
        """Make what every worker needs, and remove what dead servers left unfinished."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _let_through(self._data_dir)
        _folder(self.base, 0o711)
        _folder(self.base / ".uploads", 0o700)
        _folder(self.servers, 0o700)
        _folder(self.sdk, 0o755)
        for name, copy in SDK_FILES.items():
            _put(self.sdk / copy, (SDK / name).read_bytes())
        self._sweep()

    def upload(self) -> Path:
        """Return the path of a new file for an archive."""
        return self.base / ".uploads" / secrets.token_hex(8)

    def release(self, release: Release) -> Path:
        """Return the folder for the code of a release."""
        return self._app(release.app_id) / release.folder

    def place(self, release: Release, folder: Path) -> Place:
        """Return what a worker of this release may read and write."""
        home, tmp = self.home(release), self.tmp(release)
        return Place(readable=(folder, self.sdk), writable=(home, tmp))

    def home(self, release: Release) -> Path:
        """Return the app's home."""
        return self._app(release.app_id) / "home"

    def tmp(self, release: Release) -> Path:
        """Return the app's folder for temporary files."""
        return self._app(release.app_id) / "tmp"

    def clear(self, release: Release) -> None:
        """Remove what a former app of that name left."""
        former = self._number(release.app_id)
        if former is not None and former < release.number:
            self.remove(release.app_id, former)

    def make_app(self, release: Release, uid: int | None) -> None:
        """Make the folders of an app, after removing what a former app of that name left."""
        with full_disk():
            self.clear(release)
            former = self._number(release.app_id)
            _folder(self._app(release.app_id), 0o711 if uid is None else 0o710, group=uid)
            if self.database and (former is None or former < release.number):
                mark = f"{self.database} {release.number}"
                _put(self._app(release.app_id) / OWNER, mark.encode())
            for folder in (self.home(release), self.tmp(release)):
                _folder(folder, 0o700, os.geteuid() if uid is None else uid, uid)

    def staging(self, release: Release) -> Path:
        """Make a folder beside the app's releases, for `publish`."""
        folder = self._app(release.app_id) / f".new-{secrets.token_hex(8)}"
        folder.mkdir(0o755)
        folder.chmod(0o755)
        return folder

    def publish(self, staged: Path, release: Release) -> Path:
        """Give a complete folder its name, unless another process was faster."""
        target = self.release(release)
        try:
            staged.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            _sync(target.parent)
        return target

    def keep(self, app_id: str, names: Iterable[str], oldest: int) -> None:
        """Remove releases of an app that are older than version `oldest`, except `names`."""
        kept = set(names)
        for entry in _entries(self._app(app_id)):
            version = entry.name.partition("-")[0]
            if version.isdigit() and int(version) < oldest and entry.name not in kept:
                discard(Path(entry.path))

    def numbers(self, app_ids: Collection[str] | None) -> dict[str, int]:
        """Return the apps of our database that have a folder here, with their numbers.

        `app_ids` limits them.
        """
        names = [entry.name for entry in _entries(self.base) if not entry.name.startswith(".")]
        found = {name: self._number(name) for name in names if app_ids is None or name in app_ids}
        return {name: number for name, number in found.items() if number is not None}

    def remove(self, app_id: str, number: int | None = None) -> None:
        """Remove the folder of an app, unless a later app of that name has it."""
        database, found = self._owner(app_id)
        if database and self.database and database != self.database:
            return  # another database's app of this name
        if number is not None and found is not None and found > number:
            return
        grave = self.base / f".gone-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            self._app(app_id).rename(grave)
            discard(grave)

    def _number(self, app_id: str) -> int | None:
        """Return the number of the app that a folder belongs to, if it is of our database."""
        database, number = self._owner(app_id)
        return number if database == self.database else None

    def _owner(self, app_id: str) -> tuple[str, int | None]:
        """Return database and number from the owner file, ("", None) without one."""
        try:
            database, number = (self._app(app_id) / OWNER).read_text("ascii").split()
            return database, int(number)
        except (OSError, ValueError):
            return "", None

    def _app(self, app_id: str) -> Path:
        return self.base / app_id

    def _sweep(self) -> None:
        """Remove what is left over, for a limited time. A failure does not stop the start."""
        end = time.monotonic() + SWEEPING
        for path in self._left_over():
            if time.monotonic() >= end:
                log.warning("the next start removes the rest of what servers left unfinished")
                break
            discard(path, end - time.monotonic())

    def _left_over(self) -> list[Path]:
        apps = [Path(each.path) for each in _entries(self.base)]
        inside, found = list[Path](), list[Path]()
        for app in apps:
            with suppress(OSError):
                inside += [Path(each.path) for each in _entries(app)]
        for path in [*apps, *inside]:
            if path.name.startswith((".new-", ".gone-")) or path.parent.name == ".uploads":
                with suppress(OSError):
                    # An app can set the times of its files, except the one of that change.
                    times = path.lstat()
                    if time.time() - min(times.st_mtime, times.st_ctime) > STALE:
                        found.append(path)
        return found


def fill(folder: Path, archive: Path) -> None:
    """Unpack an archive into a new folder. Raises BadRequest; Unavailable on a full disk."""
    with full_disk():
        unpack(archive, folder)


def give_to_account(folder: Path, uid: int | None) -> None:
    """Give a folder that we filled to an account, so that it can install dependencies there."""
    (folder / OURS).mkdir()
    if uid is not None:
        # Contents first: into a folder of its own the account could put files of others.
        with closing(walk(folder, inside_first=True)) as found:
            for fd, name in found:
                if name:
                    os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)
                else:
                    os.fchown(fd, uid, uid)


def reclaim(folder: Path, uid: int | None) -> None:
    """Take back what an account installed, for it to read and run but not to change.

    Only root can do that, and only then it is needed. The account may still be changing files:
    what it does not own remains as it is, and so does a link, which only the owner of its folder
    can change. Raises BadRequest for a tree that is too large, or a file that a process holds.
    """
    if uid is None:
        return
    with closing(walk(folder)) as found:
        for fd, name in found:
            if not name:
                _reclaim(fd, uid)
            elif (file := _opened(name, fd)) is not None:
                try:
                    _reclaim(file, uid)
                finally:
                    os.close(file)


def _opened(name: str, fd: int) -> int | None:
    try:
        return os.open(name, _AS_IT_IS, dir_fd=fd)
    except BlockingIOError:  # a lease (fcntl(2), F_SETLEASE): its holder would keep the file
        raise BadRequest(f"{name!a} was installed, and a process holds it") from None
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return None  # a link, or a socket


def _reclaim(fd: int, uid: int) -> None:
    found = os.fstat(fd)
    if found.st_uid == uid:
        usable = found.st_mode & 0o500
        os.fchown(fd, os.geteuid(), os.getegid())
        os.fchmod(fd, (found.st_mode & 0o755) | usable >> 3 | usable >> 6)


def discard(path: Path, seconds: float = 300.0) -> None:
    """Remove a file or a tree; the next start tries again what cannot be removed. Never raises."""
    try:
        if not remove(path, seconds):
            log.warning("a folder that is not used any more remains", path=str(path))
    except Exception as error:
        log.error(
            "a folder that is not used any more cannot be removed", path=str(path), exc_info=error
        )


@contextmanager
def full_disk() -> Generator[None]:
    """Turn the error of a full disk into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable("the server's disk is full", retry_after=60) from None
        raise


def _folder(path: Path, mode: int, owner: int | None = None, group: int | None = None) -> None:
    """Make a folder, or change owner and mode of an existing one. Its parent must be ours."""
    path.mkdir(mode, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None or group is not None:
            os.fchown(fd, -1 if owner is None else owner, -1 if group is None else group)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _let_through(data_dir: Path) -> None:
    """Let other accounts pass through the data folder; private files in it have their own modes."""
    mode = data_dir.stat().st_mode
    if data_dir.stat().st_uid == 0 and mode & 0o111 != 0o111:
        data_dir.chmod((mode & 0o7777) | 0o111)


def _put(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    new = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    new.write_bytes(data)
    new.chmod(0o644)
    new.rename(path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
