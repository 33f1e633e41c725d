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
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from kernel.public import full_disk
from plugins.workers.isolation.wrapping import Place
from plugins.workers.models import Installation, Release

SDK: Final = Path(__file__).parents[1] / "sdk"
SDK_PACKAGE: Final = "caudex_worker"
PRELUDE: Final = "prelude.cjs"
"""The name of its copy, by which node knows the kind of module."""

log = structlog.get_logger("caudex.workers")


class Folders:
    """Makes and removes the folders. Blocking: used on threads."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.base = data_dir / "workers"
        texts = _read_sdk()
        self.sdk = self.base / f".sdk-{hashlib.sha256(b''.join(texts.values())).hexdigest()[:12]}"
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
        _make_folder(self.base, 0o711)
        _make_folder(self.base / ".uploads", 0o700)
        _make_folder(self.servers, 0o700)
        _make_folder(self.sdk, 0o755)
        _make_folder(self.sdk / SDK_PACKAGE, 0o755)
        for name, text in _read_sdk().items():
            _write_file(self.sdk / name, text)
        self._sweep(time.monotonic() + seconds, time.time() - stale)

    def locate_upload(self) -> Path:
        """Return the path of a new file for an archive."""
        return self.base / ".uploads" / secrets.token_hex(8)

    def locate_app(self, app: Installation) -> Path:
        """Return the folder of an app."""
        return self.base / (self.database or "apps") / str(app)

    def locate_release(self, release: Release) -> Path:
        """Return the folder for the code of a release, which no other code has."""
        return self.locate_app(release.app) / f"{release.version}-{release.digest[:12]}"

    def locate_home(self, app: Installation) -> Path:
        """Return the app's home."""
        return self.locate_app(app) / "home"

    def locate_tmp(self, app: Installation) -> Path:
        """Return the app's folder for temporary files."""
        return self.locate_app(app) / "tmp"

    def make_place(self, release: Release, folder: Path) -> Place:
        """Return what a worker of this release may read and write; `folder` has its code."""
        writable = (self.locate_home(release.app), self.locate_tmp(release.app))
        return Place(readable=(folder, self.sdk), writable=writable)

    def make_app(self, app: Installation, uid: int | None) -> None:
        """Make the folders of an app, for its account where it has one."""
        folder = self.locate_app(app)
        with full_disk():
            _make_folder(folder.parent, 0o711)
            if uid is None:
                _make_folder(folder, 0o711)
            else:
                _make_folder(folder, 0o710, group=uid)
            owner = os.geteuid() if uid is None else uid
            for private in (self.locate_home(app), self.locate_tmp(app)):
                _make_folder(private, 0o700, owner=owner, group=uid)

    def make_staging(self, app: Installation) -> Path:
        """Make a folder beside the app's releases, for `publish`."""
        folder = self.locate_app(app) / f".new-{secrets.token_hex(8)}"
        folder.mkdir(0o755)
        folder.chmod(0o755)
        return folder

    def publish(self, staged: Path, release: Release) -> Path:
        """Give a complete folder its name, unless another process was faster."""
        target = self.locate_release(release)
        try:
            staged.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            _sync_folder(target.parent)
        return target

    def remove_old(self, app: Installation, spared: Collection[Path], oldest: int) -> None:
        """Remove releases of an app that are older than version `oldest`, except those spared."""
        for path in list_entries(self.locate_app(app)):
            version = path.name.partition("-")[0]
            if path not in spared and version.isdigit() and int(version) < oldest:
                discard(path)

    def list_apps(self) -> list[Installation]:
        """Return the apps of our database that have a folder here."""
        apps = list[Installation]()
        for path in list_entries(self.base / (self.database or "-")):
            app_id, _, key = path.name.rpartition(".")
            if key.isdigit():
                apps.append(Installation(app_id, int(key)))
        return apps

    def find_owner(self, app: Installation) -> int | None:
        """Return the account of an app that has a folder here."""
        return _find_owner(self.locate_home(app))

    def list_owners(self) -> set[int]:
        """Return the accounts of all apps that have a folder here, of any database."""
        homes = [*self.base.glob("[!.]*/*/home"), *self.base.glob(".gone-*/home")]
        return {uid for uid in map(_find_owner, homes) if uid is not None}

    def remove(self, app: Installation) -> None:
        """Remove the folder of an app."""
        grave = self.base / f".gone-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            self.locate_app(app).rename(grave)
            discard(grave)

    def _sweep(self, end: float, before: float) -> None:
        """Remove what is left over, for a limited time. A failure does not stop the start."""
        leftovers = list[Path]()
        with suppress(OSError):  # another server may be removing the same
            for pattern in (".uploads/*", ".gone-*", "[!.]*/*/.new-*"):
                for path in self.base.glob(pattern):
                    if _find_change(path) < before:
                        leftovers.append(path)
        for path in leftovers:
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
        for uid in _list_owners(path):
            if attempt > 0:  # a folder may be shut by its mode
                _run(["chmod", "-R", "u+rwx", "--", str(path)], uid, deadline)
            _run(["rm", "-rf", "--", str(path)], uid, deadline)
        if not os.path.lexists(path):
            return True
    return False


def _list_owners(path: Path) -> list[int | None]:
    """Return the accounts that own a folder and what is directly in it; None is ours, the last."""
    uids = set[int]()
    if os.geteuid() == 0:
        with suppress(OSError), os.scandir(path) as entries:
            uids = {entry.stat(follow_symlinks=False).st_uid for entry in entries}
            uids.add(path.lstat().st_uid)
    return [*sorted(uids - {0}), None]


def _run(command: list[str], uid: int | None, deadline: float) -> None:
    """Run a command under an account, None for ours."""
    quiet = subprocess.DEVNULL
    groups: list[str | int] | None = None if uid is None else []
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/", check=False,
            timeout=max(0.0, deadline - time.monotonic()),
            user=uid, group=uid, extra_groups=groups,
        )  # fmt: skip


def _read_sdk() -> dict[str, bytes]:
    """Return what workers import, by the names in their copy."""
    modules = sorted((SDK / SDK_PACKAGE).glob("*.py"))
    texts = {f"{SDK_PACKAGE}/{module.name}": module.read_bytes() for module in modules}
    texts[PRELUDE] = (SDK / "prelude.js").read_bytes()
    return texts


def _make_folder(
    path: Path, mode: int, *, owner: int | None = None, group: int | None = None
) -> None:
    """Make a folder, or change owner and mode of an existing one. Its parent must be ours."""
    path.mkdir(mode, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None:
            os.fchown(fd, owner, -1)
        if group is not None:
            os.fchown(fd, -1, group)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _let_through(data_dir: Path) -> None:
    """Let other accounts pass through the data folder; private files in it have their own modes."""
    mode = data_dir.stat().st_mode
    if data_dir.stat().st_uid == 0 and mode & 0o111 != 0o111:
        data_dir.chmod((mode & 0o7777) | 0o111)


def _write_file(path: Path, data: bytes) -> None:
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


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _find_owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _find_change(path: Path) -> float:
    """Return when a file was changed. An app can set its times, except the one of that change."""
    status = path.lstat()
    return min(status.st_mtime, status.st_ctime)
