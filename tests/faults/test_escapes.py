"""Hostile workers: none takes the server's port, reaches others, or leaves anything behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from plugins.workers.isolation.accounts import list_processes
from plugins.workers.isolation.sandbox import landlock_version
from tests.faults.at_work import call, deploy, kill, runs, state
from tests.faults.hostile import WORKER
from tests.faults.support import FIRST_UID, Site, User
from tests.kernel.processes import alive
from tests.waiting import eventually

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of apps need a server as root")
with_ports = pytest.mark.skipif(
    landlock_version() < 4, reason="this kernel has no Landlock that judges ports (ABI 4)"
)
UNIFIED = Path("/sys/fs/cgroup/unified") if os.path.isdir("/sys/fs/cgroup/unified") else Path(
    "/sys/fs/cgroup"
)  # fmt: skip
SETTINGS: dict[str, Any] = {"shutdown_wait": 1, "term_wait": 0.5, "backoff": 0.05}
KINDS = [
    "setsid", "hidden", "not dumpable", "invented mark", "mark of the server", "nested reapers",
    "hops", "bomb",
]  # fmt: skip


@pytest.fixture
def hurt(make_site: Callable[..., Site]) -> Generator[Site]:
    """A site with accounts of its own; whatever a test leaves is ended."""
    yield make_site(plugins__workers={**SETTINGS, "processes": 64})
    for pid in of_apps():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def of_apps() -> set[int]:
    """The processes under accounts of apps."""
    return {pid for pid, uid in list_processes() if FIRST_UID <= uid < FIRST_UID + 1000}


def hostile(user: User, **manifest: Any) -> str:
    app = user.install(**manifest)
    answer = deploy(user, app, WORKER)
    assert answer.status_code == 200, answer.text
    return app


def stop(user: User, app: str) -> None:
    answer = user.post(f"/api/v1/apps/{app}/worker/stop", timeout=60)
    assert answer.status_code == 200, answer.text


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_served(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


# The server's port


@as_root
@with_ports
def test_a_daemon_of_a_worker_never_takes_the_port_of_a_server_that_was_killed(hurt: Site) -> None:
    port, report = free_port(), "report"
    with hurt.serve("--port", str(port)) as server:
        user = hurt.user(server)
        app = hostile(user)
        home = next((hurt.folder / "data" / "workers").glob(f"*/{app}.*/home"))
        daemon = call(user, app, "take", {"port": port, "report": str(home / report)})
        eventually((home / report).exists, 10)
        kill(server)
        (home / report).write_text("")
        eventually(lambda: len((home / report).read_text().splitlines()) > 20, 10)
        assert alive({daemon}), "else this tests nothing"
        tries = (home / report).read_text()
        assert "taken" not in tries
        assert not is_served(port)
    with hurt.serve("--port", str(port)) as server:
        assert not alive({daemon})
        assert "processes of a server that was killed were ended" in server.err
        runs(hurt.user(server), app)


@as_root
def test_a_start_takes_the_port_back_from_what_a_killed_server_left(hurt: Site) -> None:
    """As with a kernel without Landlock: the process listens before the start."""
    port = free_port()
    with hurt.serve("--port", str(port)) as server:
        app = hostile(hurt.user(server))
        home = next((hurt.folder / "data" / "workers").glob(f"*/{app}.*/home"))
        account = home.stat().st_uid
        kill(server)
    # The account may have no access to our interpreter.
    code = f"""
import os, socket, time
os.setgroups([])
os.setresgid({account}, {account}, {account})
os.setresuid({account}, {account}, {account})
listener = socket.create_server(("127.0.0.1", {port}))
time.sleep(300)
"""
    words = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(words, env={}, cwd="/", start_new_session=True) as thief:
        eventually(lambda: is_served(port), 10)
        with hurt.serve("--port", str(port)) as server:
            assert thief.wait(5) == -signal.SIGKILL
            assert server.get("/health").status_code == 200


@as_root
def test_a_second_server_ends_nothing_of_a_live_one_and_says_that_the_port_is_taken(
    hurt: Site,
) -> None:
    port = free_port()
    with hurt.serve("--port", str(port)) as server:
        user = hurt.user(server)
        app = hostile(user)
        pids = {call(user, app, "about")["pid"], call(user, app, "start", {"kind": "hidden"})}
        second = hurt.serve("--port", str(port))
        assert second.process.wait(60) == 78
        assert "in use" in second.err
        assert alive(pids) == pids


@with_ports
def test_a_worker_serves_at_ports_that_its_manifest_names_and_a_core_admin_allowed(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(dsn="", plugins__workers={**SETTINGS, "processes": 64})
    with site.serve() as server:
        user, other = site.user(server), site.user(server, "owner")
        own = int(server.url.rpartition(":")[2])
        port, third = free_port(), free_port()
        database = int(site.sql("show port")[0][0])
        app = hostile(user, worker={"ports": [port, own, database]})
        path = f"/api/v1/apps/{app}/worker/ports"
        role = {"userId": other.id, "role": "admin"}
        assert user.post(f"/api/v1/apps/{app}/roles/assign", json=role).status_code == 200

        def serves(number: int) -> bool:
            body = {"method": "serve", "params": {"port": number}}
            return user.post(f"/api/v1/apps/{app}/rpc", json=body).status_code == 200

        assert not serves(port)
        assert other.post(path, json={"ports": [port]}).status_code == 403
        for wrong in (own, database, third, 0, 70_000):
            assert user.post(path, json={"ports": [wrong]}).status_code == 400, wrong
        answer = user.post(path, json={"ports": [port]})
        declared = [port, own, database]
        assert answer.json() == {"declared": declared, "allowed": [port], "usable": [port]}
        eventually(lambda: serves(port), 20)
        shown = user.get(f"/api/v1/apps/{app}/worker/status").json()["sandbox"]
        assert shown["ports"] == [port]
        assert any("a port that the system chooses" in note for note in shown["notes"])
        assert not serves(third)
        assert not serves(own)
        assert other.get(path).json()["usable"] == [port]
        assert user.post(path, json={"ports": []}).status_code == 200
        eventually(lambda: not serves(port), 20)


def test_a_worker_listens_at_no_port_that_the_system_chooses(hurt: Site) -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with hurt.serve() as server:
        user = hurt.user(server)
        app = hostile(user)
        port = eventually(lambda: _free_port_among(low, high), 10)
        assert call(user, app, "listen", {"port": port}) == []
        assert not is_served(port)
        assert user.get(f"/api/v1/apps/{app}/worker/status").json()["sandbox"]["ports"] == "closed"


def _free_port_among(low: int, high: int) -> int:
    port = free_port()
    return port if low <= port <= high else 0


# Processes


@as_root
def test_no_process_outlives_a_stop(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        app, other = hostile(user), hostile(user)
        theirs = call(user, other, "about")
        for kind in KINDS:
            for _ in range(1 if kind in ("hops", "bomb") else 3):  # they leave no room for another
                eventually(lambda kind=kind: _starts(user, app, kind), 20)
            time.sleep(0.2)
            stop(user, app)
            left = {
                pid for pid, uid in list_processes() if uid != theirs["uid"] and pid in of_apps()
            }
            assert not left, kind
            start = f"/api/v1/apps/{app}/worker/start"
            eventually(lambda path=start: user.post(path).status_code == 200, 20)
        assert call(user, other, "about") == theirs


@as_root
def test_no_process_outlives_an_uninstall_or_a_crash(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        app = hostile(user)
        for kind in ("hidden", "hops"):
            call(user, app, "start", {"kind": kind})
        before = call(user, app, "about")["pid"]
        os.kill(before, signal.SIGKILL)
        after = eventually(lambda: _another(user, app, before), 20)
        eventually(lambda: of_apps() == {after}, 10, of_apps)
        for kind in ("hidden", "not dumpable", "hops"):
            call(user, app, "start", {"kind": kind})
        assert user.delete(f"/api/v1/apps/{app}").status_code == 200
        eventually(lambda: not of_apps(), 20, of_apps)
        folders = hurt.folder / "data" / "workers"
        eventually(lambda: not list(folders.glob(f"*/{app}.*")), 20)


def _starts(user: User, app: str, kind: str) -> bool:
    """Whether there was room: the account's dead processes count until init has reaped them."""
    body = {"method": "start", "params": {"kind": kind}}
    return user.post(f"/api/v1/apps/{app}/rpc", json=body).status_code == 200


def _another(user: User, app: str, before: int) -> int:
    """The process that replaced another; 0 while there is no such process."""
    answer = user.post(f"/api/v1/apps/{app}/rpc", json={"method": "about"})
    pid = answer.json()["pid"] if answer.status_code == 200 else 0
    return 0 if pid == before else pid


def test_a_cgroup_ends_every_process(make_site: Callable[..., Site]) -> None:
    """Without accounts, so that nothing else could find them."""
    if not (UNIFIED / "cgroup.procs").exists() or os.geteuid() != 0:
        pytest.skip("there is no cgroup v2 that this test may write to")
    base = UNIFIED / f"caudex-test-{os.getpid()}"
    settings = {**SETTINGS, "cgroup": str(base), "processes": 64}
    site = make_site(plugins__workers=settings)
    try:
        with site.serve() as server:
            user = site.user(server)
            app = hostile(user)
            for kind in ("hidden", "mark of the server", "hops", "bomb"):
                call(user, app, "start", {"kind": kind})
            [own] = base.glob("*-*")
            [group] = own.glob(f"{app}.*/*/")
            assert (group / "cgroup.procs").read_text()
            stop(user, app)
            assert not list(own.glob(f"{app}.*/*/"))
            # What was killed counts as a process until the init of the system has seen its end.
            base_path = f"/api/v1/apps/{app}"
            body = {"method": "start", "params": {"kind": "hidden"}}
            eventually(lambda: user.post(f"{base_path}/worker/start").status_code == 200, 30)
            eventually(lambda: user.post(f"{base_path}/rpc", json=body).status_code == 200, 30)
            kill(server)
            assert any("populated 1" in _events(each) for each in own.glob(f"{app}.*/"))
        with site.serve() as server:
            assert not own.exists()
            runs(site.user(server), app)
        assert not list(base.glob("*/"))
    finally:
        with suppress(OSError):
            (base / "cgroup.kill").write_text("1")
        for folder, _, _ in os.walk(base, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


def _events(group: Path) -> str:
    return (group / "cgroup.events").read_text()


# Memory, limits and others


def test_no_memory_outlives_a_worker(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        app = hostile(user)
        before = _shared()
        call(user, app, "remember")
        uid = call(user, app, "about")["uid"]
        stop(user, app)
        assert _shared() == before
        if os.geteuid() == 0:
            assert not of_apps()
            for name in ("shm", "sem", "msg"):
                lines = Path(f"/proc/sysvipc/{name}").read_text().splitlines()[1:]
                assert not [line for line in lines if str(uid) in line.split()], name
        assert user.delete(f"/api/v1/apps/{app}").status_code == 200
        folders = hurt.folder / "data" / "workers"
        eventually(lambda: not list(folders.glob(f"*/{app}.*")), 20)


def _shared() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name in ("left-behind", "folder")}


@as_root
def test_a_worker_reaches_no_other_process(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        app, other = hostile(user), hostile(user)
        theirs = call(user, other, "about")["pid"]
        for pid in (server.process.pid, theirs, os.getpid(), 1):
            assert call(user, app, "attack", {"pid": pid}) == [], pid
        assert call(user, other, "about")["pid"] == theirs


def test_a_worker_yields_to_the_server(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        about = call(user, hostile(user), "about")
        assert (about["oom"], about["nice"]) == (500, max(5, os.nice(0)))


@pytest.mark.parametrize("deleted", [False, pytest.param(True, marks=as_root)])
def test_a_worker_whose_files_take_too_much_is_stopped_and_its_log_says_why(
    make_site: Callable[..., Site], deleted: bool
) -> None:
    site = make_site(plugins__workers={**SETTINGS, "max_disk_mb": 3})
    with site.serve() as server:
        user = site.user(server)
        app, other = hostile(user), hostile(user)
        call(user, other, "fill", {"mb": 1, "deleted": deleted})
        call(user, app, "fill", {"mb": 5, "deleted": deleted})
        eventually(lambda: state(user, app) == "stopped", 30)
        assert state(user, other) == "running"
        assert any("max_disk_mb = 3: it is stopped" in line for line in log_of(site, app))


@pytest.mark.parametrize("kind", ["processes", "files", pytest.param("hidden", marks=as_root)])
def test_an_app_whose_processes_have_too_much_memory_is_ended_and_its_log_says_why(
    make_site: Callable[..., Site], kind: str
) -> None:
    site = make_site(plugins__workers={**SETTINGS, "memory_mb": 256})
    with site.serve() as server:
        user = site.user(server)
        app, other = hostile(user), hostile(user)
        theirs, before = call(user, other, "about"), call(user, app, "about")["pid"]
        body = {"method": "hoard", "params": {"kind": kind}}
        # 500: its folder in memory was full before the next look.
        assert user.post(f"/api/v1/apps/{app}/rpc", json=body).status_code in (200, 500, 503)
        eventually(lambda: _another(user, app, before), 30)
        assert memory_of(user, app) < 256
        assert call(user, other, "about") == theirs
        [line, *_] = [line for line in log_of(site, app) if "over memory_mb = 256" in line]
        assert line.endswith("MB of memory, over memory_mb = 256: killed")


def test_memory_that_processes_share_counts_once(make_site: Callable[..., Site]) -> None:
    site = make_site(plugins__workers={**SETTINGS, "memory_mb": 256})
    with site.serve() as server:
        user = site.user(server)
        app, other = hostile(user), hostile(user)
        before = call(user, app, "about")["pid"]
        assert call(user, app, "hoard", {"kind": "copies"})
        # Order, not time: another app that is over is ended by the look that counts this one too.
        for _ in range(2):
            former = call(user, other, "about")["pid"]
            user.post(
                f"/api/v1/apps/{other}/rpc",
                json={"method": "hoard", "params": {"kind": "processes"}},
            )
            eventually(lambda former=former: _another(user, other, former), 30)
        assert call(user, app, "about")["pid"] == before


def log_of(site: Site, app: str) -> list[str]:
    rows = site.sql("select message from caudex_logs.lines where app_id = %s", app)
    return [line for (line,) in rows]


def memory_of(user: User, app: str) -> int:
    """The MB that all processes of an app have by themselves."""
    account = call(user, app, "about")["uid"]
    pids = [pid for pid, uid in list_processes() if uid == account] if account else []
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("RssAnon:") else 0
    return total // 1024


def test_every_limit_is_named_in_the_status(hurt: Site) -> None:
    with hurt.serve() as server:
        user = hurt.user(server)
        app = hostile(user)
        found = user.get(f"/api/v1/apps/{app}/worker/status").json()["sandbox"]
        assert found["disk_mb"] == 2048
        assert {"ports", "shared_memory", "cgroup", "memory_mb", "processes"} <= found.keys()
