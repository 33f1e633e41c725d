"""Counts the files that one warm request passes in the server process.

`python -m tests.architecture.walk` prints them for a GET of a record, a deploy and a job. A file
counts where one of its functions is called in any thread of the server; files of the kernel, the
plugins and contrib only. A coroutine that began before the request and goes on after a wait, such
as the main loop of the server, is not called; what it calls then counts. Background work that runs
meanwhile counts as well, so the smallest set of several attempts is the result. No test asserts
the numbers: on a busy machine other work of the server is always in between.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from kernel.testing import Postgres, Server, running_server
from kernel.testing.fixtures import postgres as started_postgres
from tests.plugins.workers.support import QUICK, deploy
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
ROOMS = tuple(f"{ROOT / name}/" for name in ("kernel", "plugins", "contrib"))
LEFT_OUT = (f"{ROOT / 'kernel' / 'testing'}/", f"{ROOT / 'plugins' / 'system' / 'blocking.py'}")
"""What never runs in a server, and a timer that ticks ten times a second beside every request."""

CALM = {"poll_interval": 600, "lease": 3600}
"""Jobs are claimed for a reason only, and no lease is renewed meanwhile."""

APP = "walk"
MANIFEST = {
    "appId": APP,
    "name": APP,
    "dataContract": [{"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}],
}
WORKER = """
from caudex_worker import Worker

worker = Worker()

@worker.job("walk")
def walk(payload, ctx):
    return "done"

worker.run()
"""


class Walk:
    """Records calls of functions while it is on; to be installed before the server starts."""

    def __init__(self) -> None:
        self._on = False
        self.calls: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """Count a call; see `sys.setprofile`."""
        # The instruction is RESUME, with zero at the start of a function (Python's `dis`).
        if self._on and event == "call" and not frame.f_code.co_code[frame.f_lasti + 1]:
            name = frame.f_code.co_filename
            if name.startswith(ROOMS) and not name.startswith(LEFT_OUT):
                self.calls[name] += 1

    def count_calls(self, act: Callable[[], object], attempts: int) -> Counter[str]:
        """Return the calls by file of the attempt that passed the fewest files."""
        walks = list[Counter[str]]()
        for _ in range(attempts):
            self.calls = Counter()
            self._on = True
            act()
            self._on = False
            walks.append(self.calls)
        return min(walks, key=len)


@contextmanager
def walked_server(postgres: Postgres) -> Generator[tuple[Walk, Server]]:
    """Run a server whose calls are recorded, with short waits and few tasks by the clock."""
    walk = Walk()
    threading.setprofile(walk)  # for the threads that start from here on
    try:
        with running_server(postgres, {"plugins": {"workers": QUICK, "jobs": CALM}}) as server:
            server.install(MANIFEST)
            yield walk, server
    finally:
        threading.setprofile(None)


def walk_of_get(walk: Walk, server: Server) -> Counter[str]:
    """Read one record."""
    records = f"/api/v1/apps/{APP}/collections/notes"
    record = server.admin.post(records, json={"text": "x"}).raise_for_status().json()

    def get() -> None:
        server.admin.get(f"{records}/{record['id']}").raise_for_status()

    for _ in range(5):
        get()
    return walk.count_calls(get, 10)


def walk_of_deploy(walk: Walk, server: Server) -> Counter[str]:
    """Deploy a worker."""
    _deploy(server)
    return walk.count_calls(lambda: _deploy(server), 25)


def walk_of_job(walk: Walk, server: Server) -> Counter[str]:
    """Run one job of a worker, from the request to its result."""
    _deploy(server)
    jobs = f"/api/v1/apps/{APP}/jobs"

    def run_job() -> None:
        job = server.admin.post(jobs, json={"payload": {"type": "walk"}}).raise_for_status().json()
        status = "select status from caudex_jobs.jobs where id = %s"
        eventually(lambda: server.sql(status, job["job_id"]) == [("completed",)])

    run_job()
    return walk.count_calls(run_job, 80)


def _deploy(server: Server) -> None:
    deploy(server.admin, APP, {"worker.py": WORKER}).raise_for_status()


def main() -> None:
    """Print the files of each walk with their calls."""
    source: Any = started_postgres.__wrapped__()  # type: ignore[attr-defined]
    postgres = next(source)
    try:
        with walked_server(postgres) as walking:
            for take_walk in (walk_of_get, walk_of_deploy, walk_of_job):
                calls = take_walk(*walking)
                print(f"{take_walk.__name__}: {len(calls)} files, {calls.total()} calls")
                for name, count in sorted(calls.items()):
                    print(f"  {count:5} {Path(name).relative_to(ROOT)}")
    finally:
        next(source, None)


if __name__ == "__main__":
    sys.exit(main())
