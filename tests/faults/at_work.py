"""Apps with a worker whose executions are counted: each one leaves a record."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.support import Site, User
from tests.kernel.processes import Served, descendants
from tests.plugins.workers.support import targz
from tests.waiting import eventually

WORKER = """
import os, signal, subprocess, sys, threading, time
from caudex_worker import Worker

worker = Worker()
VERSION = 1

@worker.rpc
def pid(params, ctx):
    return os.getpid()

@worker.rpc
def version(params, ctx):
    time.sleep((params or {}).get("seconds", 0))
    return VERSION

@worker.rpc
def environment(params, ctx):
    return dict(os.environ)

@worker.rpc
def die(params, ctx):
    os._exit(3)

@worker.rpc
def cling(params, ctx):
    "Keep a child, and keep the interpreter from doing anything at all."
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    signal.signal = None
    threading.Timer(0.2, lambda: [x for x in iter(int, 1)]).start()
    return child.pid

@worker.job
def work(payload, ctx):
    notes = ctx.collection("notes")
    notes.insert({"name": payload["name"]})
    if payload.get("dies") and len(notes.find({"name": payload["name"]})) == 1:
        os._exit(3)
    time.sleep(payload.get("seconds", 0.05))
    return payload["name"]

worker.run()
"""
_count = itertools.count(1)


def deploy(user: User, app_id: str, worker: str = WORKER) -> Any:
    """Deploy a worker; returns the answer."""
    form = {"archive": ("worker.tar.gz", targz({"worker.py": worker}), "application/gzip")}
    return user.post(f"/api/v1/apps/{app_id}/deploy", files=form)


def working(user: User, worker: str = WORKER) -> str:
    """Install an app, deploy its worker and return the app's id."""
    app_id = user.install()
    answer = deploy(user, app_id, worker)
    assert answer.status_code == 200, answer.text
    return app_id


def call(user: User, app_id: str, method: str, params: Any = None) -> Any:
    """Call a method and return what it returns."""
    answer = user.post(
        f"/api/v1/apps/{app_id}/rpc", json={"method": method, "params": params or {}}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(user: User, app_id: str) -> str:
    """The worker's state."""
    answer = user.get(f"/api/v1/apps/{app_id}/worker/status")
    assert answer.status_code == 200, answer.text
    return answer.json()["status"]


def runs(user: User, app_id: str, seconds: float = 30) -> None:
    """Wait until the worker runs."""
    eventually(lambda: state(user, app_id) == "running", seconds, lambda: state(user, app_id))


class Jobs:
    """Jobs of an app that were acknowledged, and what became of them."""

    def __init__(self, site: Site, app_id: str) -> None:
        self._site = site
        self.app_id = app_id
        self.names: dict[str, str] = {}

    def put(self, user: User, count: int, *, max_attempts: int = 1, **more: Any) -> list[str]:
        """Have that many jobs accepted and return their ids."""
        made: list[str] = []
        for _ in range(count):
            name = f"job {next(_count)}"
            body = {"payload": {"name": name, **more}, "max_attempts": max_attempts}
            answer = user.post(f"/api/v1/apps/{self.app_id}/jobs", json=body)
            assert answer.status_code == 201, answer.text
            made.append(answer.json()["job_id"])
            self.names[made[-1]] = name
        return made

    def rows(self) -> dict[str, tuple[str, int]]:
        """Status and attempts of every job."""
        query = "select id::text, status, attempts from caudex_jobs.jobs where app_id = %s"
        return {one: (status, tries) for one, status, tries in self._site.sql(query, self.app_id)}

    def count(self, status: str) -> int:
        """How many have a status."""
        return sum(found == status for found, _ in self.rows().values())

    def begin(self) -> None:
        """Wait until some run."""
        eventually(lambda: self.count("running") > 0, 20, self.rows)

    def all_end(self, seconds: float = 60) -> None:
        """Wait until nothing is left to do."""

        def over() -> bool:
            return not {status for status, _ in self.rows().values()} & {"pending", "running"}

        eventually(over, seconds, lambda: Counter(self.rows().values()))

    def executions(self) -> Counter[str]:
        """How often each job began, by what it left."""
        return Counter(name for (name,) in self._site.sql(f"select name from {self.app_id}.notes"))

    def check(self, *, once: bool = False) -> None:
        """Every acknowledged job is completed, and was executed no more often than it began."""
        rows, executions = self.rows(), self.executions()
        assert rows.keys() == self.names.keys()
        errors = self._site.sql(
            "select error from caudex_jobs.jobs where app_id = %s and error is not null",
            self.app_id,
        )
        assert {status for status, _ in rows.values()} == {"completed"}, errors
        for job, name in self.names.items():
            assert 1 <= executions[name] <= rows[job][1], (job, rows[job], executions[name])
        if once:
            assert set(executions.values()) == {1}


def kill(server: Served) -> set[int]:
    """End a server by force and return the processes it had."""
    below = descendants(server.process.pid)
    server.process.kill()
    server.process.wait()
    return below


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def zombies(pid: int) -> int:
    """Children that have ended and were not waited for."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += fields[0] == "Z" and int(fields[1]) == pid
    return found


def settles(value: Any, seconds: float = 10) -> Any:
    """Return what a function returns once it returns the same for a second."""
    deadline, last, since = time.monotonic() + seconds, value(), time.monotonic()
    while time.monotonic() - since < 1:
        assert time.monotonic() < deadline, f"it does not come to rest: {last}"
        time.sleep(0.05)
        if (now := value()) != last:
            last, since = now, time.monotonic()
    return last
