"""A full disk refuses writes, keeps what is there and leaves nothing torn."""

import os
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.faults.support import DurablePostgres, Site, ask, no_traceback, notes
from tests.kernel.processes import caudex
from tests.plugins.workers.support import PYTHON, deploy, result, targz
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def small(make_site: Callable[..., Site]) -> Generator[Site]:
    """A site with its data folder on a file system of 8 MB."""
    site = make_site()
    data = site.folder / "data"
    data.mkdir(mode=0o711)
    with small_disk(data):
        yield site


@contextmanager
def small_disk(folder: Path) -> Generator[None]:
    """A file system of 8 MB in place of a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "caudex-test", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


def files(folder: Path) -> set[str]:
    """Files in the workers' folders, without those that a running worker writes."""
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


def test_a_full_disk_of_the_database_refuses_writes_and_nothing_else(
    site: Site, durable: DurablePostgres
) -> None:
    """The tables of one app are on a disk of their own: PostgreSQL's log has room."""
    disk = site.folder / "disk"
    disk.mkdir()
    with small_disk(disk), site.serve() as server:
        user = site.user(server)
        full, other = user.install(), user.install()
        owner = Path(ask(durable.admin, "show data_directory")[0][0]).stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        ask(durable.admin, f"create tablespace small location '{disk}'")
        site.sql(f"alter table {full}.notes set tablespace small")
        kept = {user.post(notes(full), json={"name": "first"}).json()["id"]}
        fill(disk / "filler")
        answer = None
        for number in range(2000):
            answer = user.post(notes(full), json={"name": os.urandom(3000).hex() + str(number)})
            if answer.status_code != 201:
                break
            kept.add(answer.json()["id"])
        assert answer is not None
        assert (answer.status_code, list(answer.json())) == (503, ["error"]), answer.text
        assert answer.headers["retry-after"]
        assert str(disk) not in answer.text
        assert {record["id"] for record in user.get(notes(full)).json()} == kept
        assert user.post(notes(other), json={"name": "elsewhere"}).status_code == 201
        assert answer.json() == {"error": "the disk of the database is full"}
        ready = user.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"error": "not ready: disk"})
        status = user.get("/api/v1/status").json()["disk"]
        assert (status["state"], status["problems"]) == (
            "Error", ["the disk of the database is full"],
        )  # fmt: skip
        said = [line for line in server.err.splitlines() if "disk of the database is full:" in line]
        assert ['"level": "error"' in line for line in said] == [True], said
        database = conninfo_to_dict(site.dsn)["dbname"]
        ask(durable.admin, f'alter database "{database}" set temp_tablespaces = small')
        doctor = caudex("doctor", cwd=site.folder)
        assert doctor.status == 1, doctor.out
        assert "fail   database disk: its disk is full" in doctor.out
        (disk / "filler").unlink()
        eventually(lambda: user.get("/health/ready").status_code == 200, 40, "still not ready")
        made = user.post(notes(full), json={"name": "room again"})
        assert made.status_code == 201, made.text
        trail = {"app_id": full, "operation": "INSERT", "limit": 1000}
        rows = {row["record_id"] for row in user.get("/api/v1/audit", params=trail).json()}
        assert rows == kept | {made.json()["id"]}, "no row without its audit row, and the reverse"
        user.delete(f"/api/v1/apps/{full}").raise_for_status()
        ask(durable.admin, "drop tablespace small")
    no_traceback(server)
