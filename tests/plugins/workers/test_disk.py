"""What apps take of the disk: everything that they have, and what gives way to it."""

import os
from pathlib import Path

import pytest

from kernel.testing import MakeServer
from plugins.workers.releases.disk import DiskUse
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    reaches,
    result,
)


def fill(folder: Path, mb: int, name: str = "file") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(os.urandom(mb << 20))
    return folder


def test_files_versions_and_what_is_being_built_count_together(tmp_path: Path):
    for name in ("home", "tmp", "1-abc", ".new-0123"):
        fill(tmp_path / name, 1)
    excess = DiskUse(3).find_excess(tmp_path, None, [tmp_path / "1-abc"])
    assert excess == "its files take 4 MB of the disk, over max_disk_mb = 3"
    assert DiskUse(5).find_excess(tmp_path, None, []) is None
    assert DiskUse(0).find_excess(tmp_path, None, []) is None, "0 is no limit"


def test_versions_that_are_not_used_make_room_the_oldest_first(tmp_path: Path):
    versions = [fill(tmp_path / f"{number}-abc", 2) for number in (2, 9, 10, 11)]
    fill(tmp_path / "home", 1)
    use = DiskUse(8)
    assert use.find_excess(tmp_path, None, [versions[0]]) is None
    assert [path.exists() for path in versions] == [True, False, True, True]
    fill(tmp_path / "home", 7)
    assert use.find_excess(tmp_path, None, [versions[0]]) is not None
    assert [path.exists() for path in versions] == [True, False, False, True], "the newest stays"


def test_a_version_is_measured_once(tmp_path: Path):
    """They are large, and do not change."""
    version = fill(tmp_path / "1-abc", 2)
    use = DiskUse(3)
    assert use.find_excess(tmp_path, None, []) is None
    fill(version, 9, "other")
    assert use.find_excess(tmp_path, None, []) is None
    version.rename(tmp_path / "2-abc")
    assert use.find_excess(tmp_path, None, []) is not None


@pytest.mark.slow
def test_a_deploy_that_takes_too_much_is_refused_and_older_versions_make_room(
    make_server: MakeServer,
):
    server = make_server({"plugins": {"workers": {**QUICK, "max_disk_mb": 6}}})
    large = os.urandom(2 << 20)
    app = deployed(server, {"worker.py": PYTHON, "first": large})
    folder = folder_of(server.kernel.context.data_dir, app)
    for name in ("second", "third"):
        answer = deploy(server.admin, app, {"worker.py": PYTHON, name: large})
        assert answer.status_code == 200, answer.text
    assert sorted(int(path.name[0]) for path in folder.glob("[0-9]*")) == [2, 3]
    refused = deploy(server.admin, app, {"worker.py": PYTHON, "fourth": os.urandom(7 << 20)})
    assert refused.status_code == 400
    assert "over max_disk_mb = 6: the deploy is ended" in refused.json()["error"]
    assert result(server.admin, app, "echo", {"n": 1}) == {"n": 1}
    # One that made room is unpacked again when it is put back.
    path = f"/api/v1/apps/{app}/worker/rollback"
    assert server.admin.post(path, json={"version": 1}).status_code == 200
    reaches(server.admin, app, "running")
    assert (folder_of(server.kernel.context.data_dir, app) / "home").exists()
    assert list(folder.glob("1-*/first"))
