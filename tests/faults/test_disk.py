"""A full disk refuses writes, keeps what is there and leaves nothing torn."""

import os
import subprocess
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.support import Site, no_traceback, notes
from tests.plugins.workers.support import PYTHON, deploy, result, targz


@pytest.fixture
def small(make_site: Callable[..., Site]) -> Generator[Site]:
    """A site whose data folder lies on a file system of 8 MB."""
    site = make_site()
    data = site.folder / "data"
    data.mkdir(mode=0o711)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "caudex-test", str(data)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    try:
        yield site
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


def files(folder: Path) -> set[str]:
    """What lies in the workers' folders, but for what a running worker writes."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not {"home", "tmp"} & set(path.relative_to(folder).parts)
    }


def test_a_deploy_that_does_not_fit_is_refused_and_the_old_code_goes_on(small: Site) -> None:
    data = small.folder / "data"
    with small.serve() as server:
        user = small.user(server)
        app = user.install()
        assert deploy(user, app, {"worker.py": PYTHON}).status_code == 200  # type: ignore[arg-type]
        pid, before = result(user, app, "pid"), files(data / "workers")
        room = free(data)
        too_large = {
            "to receive": targz({"worker.py": PYTHON, "rest": os.urandom(2 * room)}),
            "to unpack": targz({"worker.py": PYTHON, "rest": bytes(2 * room)}),
            "to receive and unpack": targz(
                {"worker.py": PYTHON, "rest": os.urandom(room * 2 // 3)}
            ),
        }
        for what, archive in too_large.items():
            answer = deploy(user, app, archive)  # type: ignore[arg-type]
            assert answer.status_code == 503, (what, answer.text)
            assert list(answer.json()) == ["error"], what
            assert answer.headers["retry-after"]
            assert files(data / "workers") == before, what
            assert free(data) > room - 200_000, what
            assert result(user, app, "pid") == pid
        fill(data / "filler")
        answer = deploy(user, app, {"worker.py": PYTHON})  # type: ignore[arg-type]
        assert (answer.status_code, list(answer.json())) == (503, ["error"]), server.err
        assert user.post(notes(app), json={"name": "x"}).status_code == 201
        assert len(user.get(notes(app)).json()) == 1
        assert result(user, app, "pid") == pid
        (data / "filler").unlink()
        assert deploy(user, app, {"worker.py": PYTHON}).status_code == 200  # type: ignore[arg-type]
        assert result(user, app, "pid") != pid
    no_traceback(server)
