"""Trees that an app has built to harm the server which is to remove them, or to take them back."""

import fcntl
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import anyio
import pytest

from kernel.public import BadRequest
from plugins.workers.config import WorkersConfig
from plugins.workers.control.supervisor import Supervisor
from plugins.workers.models import Installation
from plugins.workers.releases import folders as folders_module
from plugins.workers.releases.folders import Folders, discard
from plugins.workers.releases.ownership import give_to_account, reclaim, walk

UNPRIVILEGED = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture
def top() -> Generator[Path]:
    """A new folder that every account reaches; what is left of it goes in the end."""
    base = Path(tempfile.mkdtemp(prefix="caudex-trees-"))
    base.chmod(0o777)
    made = base / "top"
    made.mkdir()
    yield made
    subprocess.run(["rm", "-rf", base], check=True)


def nest(folder: Path, levels: int, mode: int = 0o755) -> None:
    """Make folders within each other, deeper than any path can be."""
    fd = os.open(folder, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d", dir_fd=fd)
        if level % 100 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.fchmod(fd, mode)
        os.close(fd)
        fd = below
    os.close(fd)


def ends(call: Callable[[], object], seconds: float = 20) -> None:
    """Have something done that may not hang: on a thread, which is left alone if it does."""
    failed = list[BaseException]()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    if failed:
        raise failed[0]


class Swap:
    """Something that takes the place of an entry in the moment before it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, make: Callable[[str, int], None]) -> None:
        self.count, self._make, self._open = 0, make, os.open
        monkeypatch.setattr(os, "open", self)

    def __call__(
        self, path: object, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if path == "victim" and dir_fd is not None:
            self.count += 1
            with suppress(FileNotFoundError):
                os.rename("victim", f"was-{self.count}", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            self._make("victim", dir_fd)
        return self._open(path, flags, mode, dir_fd=dir_fd)  # type: ignore[arg-type]


def pipe(name: str, fd: int) -> None:
    os.mkfifo(name, dir_fd=fd)


# Removing


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1500, 20_000])
def test_a_tree_of_any_depth_is_removed(top: Path, levels: int):
    nest(top, levels)
    discard(top)
    assert not top.exists()


def test_depth_costs_no_open_files(top: Path):
    nest(top, 300)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = max(map(int, os.listdir("/dev/fd"))) + 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, usual[1]))
    try:
        discard(top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    assert not top.exists()


def test_names_may_be_any_bytes_and_links_lead_nowhere(top: Path):
    outside = top.parent / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "kept").touch()
    for name in (b"\xff\xfe", b"new\nline", b"-rf", "é".encode(), b"x" * 255):
        (Path(os.fsdecode(os.fsencode(top) + b"/" + name)) / "inner").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "inner").mkdir()
    (top / "inner" / "link").symlink_to(outside / "folder", target_is_directory=True)
    os.link(outside / "folder" / "kept", top / "hard")
    os.mkfifo(top / "pipe")
    discard(top)
    assert not top.exists()
    top.symlink_to(outside)
    discard(top)
    assert not top.is_symlink()
    assert [path.name for path in (outside / "folder").iterdir()] == ["kept"]


def test_files_go_as_well_and_what_is_not_there_is_no_fault(
    top: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders_module, "log", None)
    file = top / "file"
    file.touch(0)
    for _ in range(2):
        discard(file)
        discard(file / "below")
    os.mkfifo(file)
    ends(lambda: discard(file))
    assert list(top.iterdir()) == []


@linux
def test_folders_that_are_shut_are_opened_by_who_owns_them(top: Path):
    os.chown(top, UNPRIVILEGED if os.geteuid() == 0 else -1, -1)
    usual = os.geteuid()
    if usual == 0:
        os.seteuid(UNPRIVILEGED)
    try:
        nest(top, 40, 0)
        top.chmod(0o700)
        for mode in (0, 0o400, 0o500, 0o300):
            (top / f"{mode}" / "within").mkdir(parents=True)
            (top / f"{mode}" / "within" / "file").touch()
            (top / f"{mode}" / "within").chmod(mode)
            (top / f"{mode}").chmod(mode)
        (top / "secret").symlink_to("/etc")
        top.chmod(0)
        discard(top)
    finally:
        os.seteuid(usual)
    assert not top.exists()


def swap_for_ever(top: Path, outside: Path, uid: int | None) -> NoReturn:
    """Put links and pipes in the place of folders, and back, in a process of its own."""
    try:
        if uid is not None:
            os.setuid(uid)
        os.chdir(top)
        names = sorted(os.listdir("."))
        while True:
            for count, name in enumerate(names):
                with suppress(OSError):
                    os.rename(name, f"{name}-was")
                    os.symlink(outside, name) if count % 4 else os.mkfifo(name)
                    os.unlink(name)
                    os.rename(f"{name}-was", name)
    finally:
        os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize("owner", ["ours", pytest.param("theirs", marks=as_root)])
def test_what_takes_the_place_of_a_folder_leads_nowhere_and_holds_nothing_up(top: Path, owner: str):
    """A process swaps folders for links and pipes while they are removed."""
    outside = top.parent / "outside"
    outside.mkdir()
    for count in range(50):
        (outside / f"kept{count}").touch()
    outside.chmod(0o500)
    uid = UNPRIVILEGED if owner == "theirs" else None
    for _ in range(3):
        top.mkdir(exist_ok=True)
        for count in range(200):
            (top / f"victim{count}" / "inner").mkdir(parents=True)
        if uid is not None:
            subprocess.run(["chown", "-R", str(uid), top], check=True)
        if (swapping := os.fork()) == 0:
            swap_for_ever(top, outside, uid)
        try:
            time.sleep(0.05)
            ends(lambda: discard(top))
        finally:
            os.kill(swapping, signal.SIGKILL)
            os.waitpid(swapping, 0)
        discard(top)
        assert not top.exists()
    assert len(list(outside.iterdir())) == 50
    found = outside.stat().st_mode & 0o777
    outside.chmod(0o700)
    assert found == 0o500


@pytest.mark.slow
def test_who_goes_on_adding_does_not_hold_it_up(top: Path, monkeypatch: pytest.MonkeyPatch):
    said, over = list[str](), threading.Event()
    monkeypatch.setattr(
        folders_module, "log", SimpleNamespace(warning=lambda text, path: said.append(path))
    )

    def add() -> None:
        count = 0
        while not over.is_set():
            count += 1
            with suppress(OSError):
                (top / f"folder{count}" / "inner").mkdir(parents=True)
                (top / f"folder{count}" / "file").touch()
            with suppress(OSError):  # it is removed between two looks
                top.mkdir()

    adding = threading.Thread(target=add)
    adding.start()
    try:
        began = time.monotonic()
        ends(lambda: discard(top, 0.5))
        took = time.monotonic() - began
    finally:
        over.set()
        adding.join()
    assert took < 5
    assert said in ([], [str(top)]), "unless it was empty for a moment"
    discard(top)
    assert not top.exists()


@as_root
def test_what_cannot_be_removed_stays_and_the_rest_goes(top: Path, monkeypatch: pytest.MonkeyPatch):
    said = list[str]()
    monkeypatch.setattr(
        folders_module, "log", SimpleNamespace(warning=lambda text, path: said.append(path))
    )
    for name in ("a/b/immutable", "a/b/c/d", "a/e", "f/g"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    subprocess.run(["chown", "-R", str(UNPRIVILEGED), top], check=True)
    os.chown(top / "a" / "b", 0, 0)
    shutil.rmtree(top / "a" / "b" / "c")
    os.seteuid(UNPRIVILEGED)
    try:
        ends(lambda: discard(top))
    finally:
        os.seteuid(0)
    assert sorted(str(path.relative_to(top)) for path in top.rglob("*")) == [
        "a", "a/b", "a/b/immutable"
    ]  # fmt: skip
    assert said == [str(top)]


@pytest.mark.slow
def test_nothing_that_is_left_over_keeps_a_server_from_starting(
    top: Path, monkeypatch: pytest.MonkeyPatch
):
    folders = Folders(top)
    folders.prepare()
    (folders.base / "one" / "crm.1").mkdir(parents=True)
    left = [folders.base / ".gone-1", folders.base / "one" / "crm.1" / ".new-2"]
    for path in left:
        path.mkdir()
        nest(path, 1500)
        os.utime(path, (0, 0))

    def fault(path: Path, seconds: float) -> bool:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(folders_module, "_remove", fault)
        folders.prepare()
    folders.prepare(seconds=-1.0)
    assert all(path.exists() for path in left)
    folders.prepare()
    assert not any(path.exists() for path in left)


def test_a_date_in_the_future_saves_nothing(top: Path):
    folders = Folders(top)
    folders.prepare()
    left = folders.base / ".gone-1"
    left.mkdir()
    os.utime(left, (time.time() + 36_000,) * 2)
    folders.prepare(stale=-1.0)
    assert not left.exists()


async def test_an_app_is_gone_whatever_becomes_of_its_files():
    """A deploy of an app of the same name waits for the removal."""

    def fault(app: Installation) -> None:
        raise RecursionError

    host: Any = SimpleNamespace(
        config=WorkersConfig(), clock=anyio.current_time, machine=SimpleNamespace(remove_app=fault)
    )
    builder: Any = None
    supervisor = Supervisor(Installation("crm", 7), host, builder)
    supervisor.remove()
    with anyio.fail_after(60):
        await supervisor.run()
        await supervisor.wait_over()
    assert supervisor.is_over


# Giving and taking back


def test_what_was_installed_too_deep_is_refused(top: Path):
    nest(top, 100)
    reclaim(top, os.geteuid())
    nest(top / Path(*["d"] * 100), 1)
    with pytest.raises(BadRequest, match="more than 100 folders deep"):
        reclaim(top, os.geteuid())
    nest(top / Path(*["d"] * (100 + 1)), 3000)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(BadRequest, match="more than 100 folders deep"):
        reclaim(top, os.geteuid())
    assert len(os.listdir("/dev/fd")) == before


def test_more_than_can_be_gone_through_is_refused(top: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(walk.__kwdefaults__, "limit", 5)
    for count in range(5):
        (top / f"{count}").touch()
    reclaim(top, os.geteuid())
    (top / "0").unlink()
    (top / "0" / "inner").mkdir(parents=True)
    with pytest.raises(BadRequest, match="more than 5 files and folders"):
        reclaim(top, os.geteuid())


def test_a_pipe_in_the_place_of_a_folder_does_not_hold_up_what_is_taken_back(
    top: Path, monkeypatch: pytest.MonkeyPatch
):
    (top / "victim").mkdir()
    swap = Swap(monkeypatch, pipe)
    ends(lambda: reclaim(top, os.geteuid()))
    assert swap.count


@as_root
def test_links_to_folders_are_not_opened(top: Path, monkeypatch: pytest.MonkeyPatch):
    outside, opened = top.parent / "outside", list[object]()
    (outside / "inner").mkdir(parents=True)
    os.chown(outside / "inner", UNPRIVILEGED, UNPRIVILEGED)
    (top / "link").symlink_to(outside)
    (top / "victim").mkdir()
    Swap(monkeypatch, lambda name, fd: os.symlink(outside, name, dir_fd=fd))
    usual = os.open

    def noted(path: object, flags: int, *arguments: int, dir_fd: int | None = None) -> int:
        fd = usual(path, flags, *arguments, dir_fd=dir_fd)  # type: ignore[arg-type]
        opened.append(os.readlink(f"/proc/self/fd/{fd}"))
        return fd

    monkeypatch.setattr(os, "open", noted)
    reclaim(top, UNPRIVILEGED)
    assert str(outside) not in opened
    assert (outside / "inner").stat().st_uid == UNPRIVILEGED


@as_root
def test_what_an_account_puts_into_a_folder_that_it_was_given_is_not_given_too(
    top: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where the system lets everyone link to what is not theirs (fs.protected_hardlinks = 0)."""
    secret, inner = top.parent / "secret", top / "a" / "inner"
    secret.touch()
    inner.mkdir(parents=True)
    (inner / "code").touch()

    def watched(call: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: object, **more: object) -> None:
            call(*arguments, **more)
            if inner.stat().st_uid == UNPRIVILEGED and not (inner / "theirs").exists():
                os.link(secret, inner / "theirs")

        return changed

    monkeypatch.setattr(os, "chown", watched(os.chown))
    monkeypatch.setattr(os, "fchown", watched(os.fchown))
    give_to_account(top, UNPRIVILEGED)
    assert (inner / "theirs").exists()
    assert secret.stat().st_uid == 0
    given = [top, top / ".caudex", top / "a", inner, inner / "code"]
    assert [path.stat().st_uid for path in given] == [UNPRIVILEGED] * 5


LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


@as_root
@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="this system has no leases")
def test_a_file_that_a_process_of_the_account_does_not_let_go_of_is_refused(top: Path):
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no interpreter that another account reaches")
    (top / "code").touch()
    os.chown(top / "code", UNPRIVILEGED, UNPRIVILEGED)
    command = [python, "-c", LEASE, str(top / "code")]
    with subprocess.Popen(
        command, user=UNPRIVILEGED, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"held\n":
            pytest.skip("this file system has no leases")
        with pytest.raises(BadRequest, match="'code' was installed, and a process holds it"):
            reclaim(top, UNPRIVILEGED)
        holder.kill()
