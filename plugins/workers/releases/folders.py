"""Where workers lie on disk: `<data-dir>/workers/<app>/`, owned so that apps cannot meet there.

As root the code of an app belongs to root and can be read by the app's account alone; `home` and
`tmp` belong to the app. A release appears under its name in one step, complete.
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
"""What is copied, and under which name: node takes `.cjs` for what it is, wherever it lies."""

STALE: Final = 3600.0
"""Seconds after which what a server left unfinished is swept away."""

SWEEPING: Final = 30.0
"""Seconds that a start may take for that."""

OWNER: Final = "owner"
"""File in an app's folder: which database the app is in, and its number there."""

_AS_IT_IS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

log = structlog.get_logger("caudex.workers")


class Folders:
    """Blocking: used on threads."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.base = data_dir / "workers"
        texts = [(SDK / name).read_bytes() for name in SDK_FILES]
        self.sdk = self.base / f".sdk-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
        """What workers import: a copy, since the original may lie where they cannot reach it."""
        self.servers = self.base / ".servers"
        self.database = ""
        """Where our apps are. Another one may use the same data folder, whose apps we leave alone;
        as we do with all that is left over, while this is not known."""

    def prepare(self) -> None:
        """Make what every worker needs, and sweep what is left of servers that died."""
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
        """Name a new file for an archive that is being received."""
        return self.base / ".uploads" / secrets.token_hex(8)

    def release(self, release: Release) -> Path:
        """Where the code of a release lies, once it is there."""
        return self._app(release.app_id) / release.folder

    def place(self, release: Release, folder: Path) -> Place:
        """What a worker of this release may read and write."""
        home, tmp = self.home(release), self.tmp(release)
        return Place(readable=(folder, self.sdk), writable=(home, tmp))

    def home(self, release: Release) -> Path:
        """The app's home."""
        return self._app(release.app_id) / "home"

    def tmp(self, release: Release) -> Path:
        """The app's folder for temporary files."""
        return self._app(release.app_id) / "tmp"

    def clear(self, release: Release) -> None:
        """Remove what a former app of the name left, its code too: that may be named alike."""
        former = self._number(release.app_id)
        if former is not None and former < release.number:
            self.remove(release.app_id, former)

    def make_app(self, release: Release, uid: int | None) -> None:
        """Make the folders of an app; what a former one of its name left goes first."""
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
        """Make a folder beside the app's releases, to be thrown away unless `publish` takes it."""
        folder = self._app(release.app_id) / f".new-{secrets.token_hex(8)}"
        folder.mkdir(0o755)
        folder.chmod(0o755)
        return folder

    def publish(self, staged: Path, release: Release) -> Path:
        """Give a complete folder its name; another process of ours may have been faster."""
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
        """Remove the releases of an app but these, and those from version `oldest` on."""
        kept = set(names)
        for entry in _entries(self._app(app_id)):
            version = entry.name.partition("-")[0]
            if version.isdigit() and int(version) < oldest and entry.name not in kept:
                discard(Path(entry.path))

    def numbers(self, app_ids: Collection[str] | None) -> dict[str, int]:
        """Apps of our database that have a folder here, or those of them that are named, and the
        number of each."""
        names = [entry.name for entry in _entries(self.base) if not entry.name.startswith(".")]
        found = {name: self._number(name) for name in names if app_ids is None or name in app_ids}
        return {name: number for name, number in found.items() if number is not None}

    def remove(self, app_id: str, number: int | None = None) -> None:
        """Remove all that an app has, unless a later one of its name has it; numbers only grow."""
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
        """The number of the app that a folder belongs to, if it is one of our database."""
        database, number = self._owner(app_id)
        return number if database == self.database else None

    def _owner(self, app_id: str) -> tuple[str, int | None]:
        """The mark of a folder, ("", None) where there is none."""
        try:
            database, number = (self._app(app_id) / OWNER).read_text("ascii").split()
            return database, int(number)
        except (OSError, ValueError):
            return "", None

    def _app(self, app_id: str) -> Path:
        return self.base / app_id

    def _sweep(self) -> None:
        """Whatever is the matter with what is left over, the server starts."""
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
                    # What an app owns it can date forward, but for the time of that very change.
                    times = path.lstat()
                    if time.time() - min(times.st_mtime, times.st_ctime) > STALE:
                        found.append(path)
        return found


def fill(folder: Path, archive: Path) -> None:
    """Unpack an archive into a new folder. Raises BadRequest; Unavailable on a full disk."""
    with full_disk():
        unpack(archive, folder)


def give_to_account(folder: Path, uid: int | None) -> None:
    """Let an account write in a folder that we filled ourselves, to install what it needs."""
    (folder / OURS).mkdir()
    if uid is not None:
        # What is in a folder comes first: in one that is theirs they put what is not to be given.
        with closing(walk(folder, inside_first=True)) as found:
            for fd, name in found:
                if name:
                    os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)
                else:
                    os.fchown(fd, uid, uid)


def reclaim(folder: Path, uid: int | None) -> None:
    """Make what an account installed ours, for it to read and run; only root can, and need.

    The account may have put anything there, and may still be at it: what is not its own stays as
    it is, as does a link, which nobody but the owner of its folder can change. Raises BadRequest
    for more than can be gone through, or what a process does not let go of.
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
    """Remove a file or a tree, no link followed; what cannot be removed is left to the sweep.

    Never raises: those who discard have something else to bring to its end.
    """
    try:
        if not remove(path, seconds):
            log.warning("what is not used any more cannot be removed, or not yet", path=str(path))
    except Exception as error:
        log.error("what is not used any more cannot be removed", path=str(path), exc_info=error)


@contextmanager
def full_disk() -> Generator[None]:
    """Say that the disk is full, where it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable("the server's disk is full", retry_after=60) from None
        raise


def _folder(path: Path, mode: int, owner: int | None = None, group: int | None = None) -> None:
    """Make a folder; one that is there gets the same owner and mode. Its parent is ours alone."""
    path.mkdir(mode, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None or group is not None:
            os.fchown(fd, -1 if owner is None else owner, -1 if group is None else group)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _let_through(data_dir: Path) -> None:
    """Let other accounts pass through the data folder; what is private in it is so by itself."""
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
