"""What a server reads of an app's code before it installs anything: as little as it can."""

import os
from pathlib import Path

import pytest

from kernel.public import BadRequest, Runtime
from plugins.workers.releases.installs import read_locks
from plugins.workers.runtimes import JavaScriptRuntime, PythonRuntime

PYTHON = PythonRuntime("", Path(), lambda _: True)
JAVASCRIPT = JavaScriptRuntime("/nonexistent/bun", "", Path(), lambda _: True)


@pytest.mark.parametrize(
    ("runtime", "name"), [(PYTHON, "requirements.txt"), (JAVASCRIPT, "package.json")]
)
def test_a_file_that_a_deploy_parses_has_a_bound(tmp_path: Path, runtime: Runtime, name: str):
    """Of 117 kB in an archive it can have 120 MB: spaces, which an archive packs well."""
    (tmp_path / name).write_bytes(b" " * 1_000_000 + b"\n")
    with pytest.raises(BadRequest) as refused:
        runtime.installs(tmp_path)
    assert refused.value.message == f"{name} is over the limit of 1,000,000 bytes"


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
def test_without_such_a_file_nothing_is_installed(tmp_path: Path, runtime: Runtime):
    assert runtime.installs(tmp_path) == ()


def test_lock_files_are_compared_whatever_their_size_and_only_plain_ones(tmp_path: Path):
    """A tool of the app has just run in the folder: it may have left anything there."""
    (tmp_path / "package-lock.json").write_bytes(b"{}")
    [(name, _)] = before = read_locks(tmp_path)
    assert name == "package-lock.json"
    assert read_locks(tmp_path) == before
    (tmp_path / "package-lock.json").write_bytes(b"{}\n")
    assert read_locks(tmp_path) != before
    os.mkfifo(tmp_path / "bun.lock")
    (tmp_path / "bun.lockb").symlink_to("/dev/zero")
    assert {name for name, _ in read_locks(tmp_path)} == {"package-lock.json"}
