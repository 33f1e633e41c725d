"""Cgroups: what is written to their files. A folder replaces the hierarchy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from kernel.public import BootError
from kernel.testing import Server
from plugins.workers.config import WorkersConfig
from plugins.workers.isolation import cgroups as module
from plugins.workers.isolation.accounts import LOCKS
from plugins.workers.isolation.cgroups import Cgroups, end_processes, find_base
from plugins.workers.isolation.diagnosis import diagnose_machine
from plugins.workers.isolation.orphans import hold_server_name, kill_orphans_of_dead_servers
from plugins.workers.isolation.sandbox import Sandbox
from plugins.workers.isolation.wrapping import Place
from tests.plugins.workers.support import QUICK, install

ROOT = Path(__file__).parents[3]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder in place of a delegated cgroup with all controllers."""
    folder = tmp_path / "delegated"
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return folder


def config(base: Path, **more: object) -> WorkersConfig:
    return WorkersConfig(cgroup=str(base), memory_mb=100, processes=7, **more)  # type: ignore[arg-type]


def text(*path: str | Path) -> str:
    return Path(*path).read_text()


def test_limits_are_written_for_the_app_and_a_process_joins_a_cgroup_below(base: Path):
    groups = Cgroups(config(base, cpus=1.5))
    assert groups.open("server1")
    leaf = Path(groups.make("crm.7"))
    app = base / "server1" / "crm.7"
    assert leaf.parent == app
    assert text(app, "memory.max") == str(100 * 2**20)
    assert text(app, "pids.max") == "7"
    assert text(app, "cpu.max") == "150000 100000"
    for folder in (base, base / "server1"):
        assert text(folder, "cgroup.subtree_control") == "+cpu"  # the last of three lines
    assert groups.level == ["memory", "pids", "cpu"]
    assert groups.path == str(base / "server1")
    assert groups.make("crm.7") != str(leaf), "one for each process"


def test_half_of_the_processors_is_the_default_and_one_at_least(
    base: Path, monkeypatch: pytest.MonkeyPatch
):
    for count, wanted in ((8, "400000 100000"), (1, "100000 100000")):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        groups = Cgroups(config(base))
        groups.look()
        assert groups.make_limits()["cpu.max"] == wanted


def test_controllers_that_are_missing_limit_nothing_and_processes_are_ended_all_the_same(
    base: Path,
):
    (base / "cgroup.controllers").write_text("hugetlb\n")
    groups = Cgroups(config(base))
    groups.open("server1")
    leaf = Path(groups.make("crm.7"))
    assert not (leaf.parent / "memory.max").exists()
    assert groups.level is None
    (leaf / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (leaf / "cgroup.kill").write_text("")
    assert not end_processes(leaf, 0.05), "here nothing ends them"
    assert text(leaf, "cgroup.kill") == "1"


def test_the_exec_wrapper_joins_the_cgroup_before_the_program(base: Path, tmp_path: Path):
    sandbox = Sandbox(WorkersConfig(sandbox="off"), tmp_path)
    groups = Cgroups(config(base))
    groups.open("server1")
    leaf = groups.make("crm.7")
    command = sandbox.wrap(["/bin/true"], 7, Place(cgroup=leaf))
    subprocess.run(command, env={}, check=True, timeout=20)
    assert text(leaf, "cgroup.procs") == "0"
    gone = sandbox.wrap(["/bin/true"], 7, Place(cgroup=f"{leaf}/gone"))
    done = subprocess.run(gone, env={}, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "cannot confine the worker" in done.stderr


def test_a_server_without_a_delegated_cgroup_opens_none():
    groups = Cgroups(WorkersConfig(cgroup="off"))
    assert not groups.open("server1")
    assert groups.level is None


def test_our_own_processes_make_room(base: Path):
    (base / "cgroup.procs").write_text(f"{os.getpid()}\n")
    Cgroups(config(base)).open("server1")
    assert text(base, "server", "cgroup.procs") == str(os.getpid())


def test_before_linux_5_14_each_process_is_killed(base: Path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        (base / "cgroup.procs").write_text(f"{process.pid}\n")
        (base / "cgroup.events").write_text("populated 1\n")
        assert not end_processes(base, 0.05)
        assert process.wait(5) == -9


def test_a_start_ends_the_cgroup_of_a_server_that_was_killed(base: Path, tmp_path: Path):
    servers = tmp_path / "servers"
    servers.mkdir()
    group = base / "killed"
    group.mkdir()
    with hold_server_name(servers, servers / "draft") as name:
        kept = tmp_path / name
        kept.hardlink_to(servers / name)
        kept.write_bytes(os.fsencode(group))
    kept.rename(servers / name)  # a server that is killed leaves the file
    kill_orphans_of_dead_servers(servers)
    assert not group.exists()


def test_only_what_systemd_delegated_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    own = tmp_path / "system.slice" / "caudex.service" / "server"
    own.mkdir(parents=True)
    (own.parent / "cgroup.procs").touch()
    files = {
        Path("/proc/self/mountinfo"): f"1 2 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw\n",
        Path("/proc/self/cgroup"): "3:cpu:/\n0::/system.slice/caudex.service/server\n",
    }
    usual = module._read
    monkeypatch.setattr(module, "_read", lambda path: files.get(path) or usual(path))
    assert find_base("auto") is None
    marked = {own.parent: b"1"}

    def attribute(path: Path, name: str) -> bytes:
        if name != "user.delegate" or path not in marked:
            raise OSError(61, "no data")
        return marked[path]

    monkeypatch.setattr("os.getxattr", attribute)
    assert find_base("auto") == own.parent
    assert find_base("off") is None
    assert find_base("/sys/fs/cgroup/x") == Path("/sys/fs/cgroup/x")


def test_a_cgroup_that_was_configured_and_cannot_be_used_stops_the_start(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(BootError, match="cgroup"):
        Cgroups(WorkersConfig(cgroup=str(tmp_path / "file"))).open("server1")


def test_the_unit_of_the_guide_delegates_to_the_server():
    guide = (ROOT / "docs" / "howto" / "run-in-production.md").read_text("utf-8")
    [unit] = re.findall(r"```ini\n(# /etc/systemd/system/caudex.service\n.*?)```", guide, re.DOTALL)
    read = ConfigParser(interpolation=None)
    read.read_string(unit)
    assert read["Service"].getboolean("Delegate")
    assert read["Service"]["RuntimeDirectory"] == LOCKS.parent.name


@pytest.mark.slow
def test_the_status_names_the_level_of_the_limits(make_server: Callable[..., Server], base: Path):
    for offered, level in (("cpu memory pids\n", ["memory", "pids", "cpu"]), ("\n", None)):
        (base / "cgroup.controllers").write_text(offered)
        server = make_server({"plugins": {"workers": {**QUICK, "cgroup": str(base)}}})
        found = server.admin.get("/api/v1/status").raise_for_status().json()
        assert found["workers"]["sandbox"]["cgroup"] == level
        app = install(server)
        found = server.admin.get(f"/api/v1/apps/{app}/worker/status").raise_for_status().json()
        assert found["sandbox"]["cgroup"] == level


def test_doctor_names_the_level_of_the_limits(base: Path, tmp_path: Path):
    texts = {each.text: each.state for each in diagnose_machine(config(base), tmp_path / "data")}
    said = f"memory, pids, cpu are limited for each app, by cgroup v2 at {base}"
    assert texts[said] == "ok"
    measured = f"memory of an app is measured once a second: {base} has no such controller"
    for offered, expected in (
        ("", f"CPU is not limited, and {measured}"),
        ("pids cpu", f"pids, cpu are limited for each app, by cgroup v2 at {base}; {measured}"),
    ):
        (base / "cgroup.controllers").write_text(offered)
        texts = {
            each.text: each.state for each in diagnose_machine(config(base), tmp_path / "data")
        }
        assert texts[expected] == "warn"
