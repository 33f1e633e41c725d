"""The folders of apps, `<data-dir>/workers/<database>/<app>.<key>/`, whose owners keep apps apart.

As root, the code of an app belongs to root, and only the app's account can read it; `home` and
`tmp` belong to that account. A release appears under its name in one step, complete. A later app of
the same name has another key, so it finds nothing of the former one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from kernel.public import Unavailable
from plugins.workers.isolation.sandbox import Place
from plugins.workers.models import Release

SDK: Final = Path(__file__).parents[1] / "sdk"
SDK_FILES: Final = {"caudex_worker.py": "caudex_worker.py", "prelude.js": "prelude.cjs"}
"""What is copied, and under which name: node needs `.cjs` to know the kind of module."""

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
        """The name of our database. While it is not known no folder is removed as left over."""

    def prepare(self, seconds: float = 30.0, stale: float = 3600.0) -> None:
        """Make what every worker needs, and remove what dead servers left unfinished.

        The removal takes `seconds` at most, and leaves what changed in the last `stale` seconds.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _let_through(self._data_dir)
        _folder(self.base, 0o711)
        _folder(self.base / ".uploads", 0o700)
        _folder(self.servers, 0o700)
        _folder(self.sdk, 0o755)
        for name, copy in SDK_FILES.items():
            _put(self.sdk / copy, (SDK / name).read_bytes())
        self._sweep(time.monotonic() + seconds, time.time() - stale)

    def upload(self) -> Path:
        """Return the path of a new file for an archive."""
        return self.base / ".uploads" / secrets.token_hex(8)

    def app(self, app_id: str, key: int) -> Path:
        """Return the folder of an app."""
        return self.base / (self.database or "apps") / f"{app_id}.{key}"

    def release(self, release: Release) -> Path:
        """Return the folder for the code of a release, which no other code has."""
        name = f"{release.version}-{release.digest[:12]}"
        return self.app(release.app_id, release.key) / name

    def place(self, release: Release, folder: Path) -> Place:
        """Return what a worker of this release may read and write."""
        return Place(readable=(folder, self.sdk), writable=(self.home(release), self.tmp(release)))

    def home(self, release: Release) -> Path:
        """Return the app's home."""
        return self.app(release.app_id, release.key) / "home"

    def tmp(self, release: Release) -> Path:
        """Return the app's folder for temporary files."""
        return self.app(release.app_id, release.key) / "tmp"

    def make_app(self, release: Release, uid: int | None) -> None:
        """Make the folders of an app."""
        app = self.app(release.app_id, release.key)
        with full_disk():
            _folder(app.parent, 0o711)
            _folder(app, 0o711 if uid is None else 0o710, group=uid)
            for folder in (self.home(release), self.tmp(release)):
                _folder(folder, 0o700, os.geteuid() if uid is None else uid, uid)

    def staging(self, release: Release) -> Path:
        """Make a folder beside the app's releases, for `publish`."""
        folder = self.app(release.app_id, release.key) / f".new-{secrets.token_hex(8)}"
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

    def keep(self, app: Path, kept: Iterable[Path], oldest: int) -> None:
        """Remove releases of an app that are older than version `oldest`, except those `kept`."""
        for path in set(list_entries(app)).difference(kept):
            version = path.name.partition("-")[0]
            if version.isdigit() and int(version) < oldest:
                discard(path)

    def apps(self) -> dict[int, str]:
        """Return the apps of our database that have a folder here: key to name."""
        found = [
            each.name.rpartition(".") for each in list_entries(self.base / (self.database or "-"))
        ]
        return {int(key): app_id for app_id, _, key in found if key.isdigit()}

    def owner(self, app_id: str, key: int) -> int | None:
        """Return the account of an app that has a folder here."""
        return _owner(self.app(app_id, key) / "home")

    def owners(self) -> set[int]:
        """Return the accounts of all apps that have a folder here, of any database."""
        homes = [*self.base.glob("[!.]*/*/home"), *self.base.glob(".gone-*/home")]
        return {uid for uid in map(_owner, homes) if uid is not None}

    def remove(self, app_id: str, key: int) -> None:
        """Remove the folder of an app."""
        grave = self.base / f".gone-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            self.app(app_id, key).rename(grave)
            discard(grave)

    def _sweep(self, end: float, before: float) -> None:
        """Remove what is left over, for a limited time. A failure does not stop the start."""
        found = list[Path]()
        with suppress(OSError):  # another server may be removing the same
            for pattern in (".uploads/*", ".gone-*", "[!.]*/*/.new-*"):
                found += [path for path in self.base.glob(pattern) if _changed(path) < before]
        for path in found:
            if time.monotonic() >= end:
                log.warning("the next start removes the rest of what servers left unfinished")
                break
            discard(path, end - time.monotonic())


def discard(path: Path, seconds: float = 300.0) -> None:
    """Remove a file or a tree; the next start tries again what cannot be removed. Never raises."""
    try:
        if not _remove(path, seconds):
            log.warning("a folder that is not used any more remains", path=str(path))
    except Exception as error:
        log.error(
            "a folder that is not used any more cannot be removed", path=str(path), exc_info=error
        )


def _remove(path: Path, seconds: float) -> bool:
    """Remove a file or a tree without following links, and return whether nothing is left of it.

    `rm` in a child process does it: depth costs it neither stack nor open files, which
    `shutil.rmtree` needs for each level. What an app's account owns is removed under that account,
    so that a link planted there leads to nothing that the app cannot remove itself.
    """
    try:
        os.unlink(path)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # a folder
    deadline = time.monotonic() + seconds
    for attempt in range(3):
        for uid in _owners(path):
            if attempt:  # a folder may be shut by its mode
                _run(["chmod", "-R", "u+rwx", "--", str(path)], uid, deadline)
            _run(["rm", "-rf", "--", str(path)], uid, deadline)
        if not os.path.lexists(path):
            return True
    return False


def _owners(path: Path) -> list[int | None]:
    """Return the accounts that own a folder and what is directly in it; None is ours, the last."""
    found = set[int]()
    if os.geteuid() == 0:
        with suppress(OSError), os.scandir(path) as entries:
            found = {entry.stat(follow_symlinks=False).st_uid for entry in entries}
            found.add(path.lstat().st_uid)
    return [*sorted(found - {0}), None]


def _run(command: list[str], uid: int | None, deadline: float) -> None:
    quiet = subprocess.DEVNULL
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/", check=False,
            timeout=max(0.0, deadline - time.monotonic()),
            user=uid, group=uid, extra_groups=None if uid is None else [],
        )  # fmt: skip


@contextmanager
def full_disk() -> Generator[None]:
    """Turn the error of a full disk into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
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


def list_entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where there is no such folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _changed(path: Path) -> float:
    """Return when a file was changed. An app can set its times, except the one of that change."""
    found = path.lstat()
    return min(found.st_mtime, found.st_ctime)
