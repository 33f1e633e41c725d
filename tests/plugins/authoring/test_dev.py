"""`caudex app dev`: saves are deployed, mistakes keep the last version, and it is quick."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Server
from tests.kernel.processes import environment

from .support import Author

pytestmark = pytest.mark.slow

LIMIT = 120.0
QUICK = 1.0
"""Seconds from a save to its effect, in the best of several tries."""


class Development:
    """A running `caudex app dev`, and the events that it prints."""

    def __init__(self, author: Author, *words: str) -> None:
        self.folder = author.folder
        self.author = author
        with (author.folder / ".dev.err").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kernel", "app", "dev", "--json", *words],
                cwd=author.folder, env=environment(author.variables), stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        self._events = queue.Queue[dict[str, Any]]()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._events.put(json.loads(line))

    def wait(self, **members: Any) -> dict[str, Any]:
        """Return the next event that has these members."""
        seen: list[dict[str, Any]] = []
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                event = self._events.get(timeout=0.5)
            except queue.Empty:
                assert self.process.poll() is None, seen
                continue
            seen.append(event)
            if all(event.get(name) == value for name, value in members.items()):
                return event
        raise AssertionError(f"no event with {members} in {seen}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        self._reader.join(10)
        return status


@pytest.fixture
def project(author: Author) -> Author:
    author.ok("app", "new", "edited")
    inside = author.inside("edited")
    inside.variables["XDG_CONFIG_HOME"] = str(author.folder / ".config")
    return inside


@pytest.fixture
def dev(project: Author, server: Server) -> Generator[Development]:
    running = Development(project, "--url", server.url)
    try:
        running.wait(event="watching")
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def summary(server: Server) -> Any:
    body = {"method": "summary", "params": {}}
    return server.admin.post("/api/v1/apps/edited/rpc", json=body).json()


def test_each_save_deploys_what_changed(dev: Development, project: Author, server: Server) -> None:
    project.edit("worker.py", '"items": total["total"]', '"all": total["total"]')
    deployed = dev.wait(event="deployed", state="changed")
    assert deployed["part"] == "worker"
    assert "all" in summary(server)

    project.edit("manifest.json", '"notes"', '"remarks"')
    assert dev.wait(event="deployed", state="changed")["part"] == "manifest"
    project.edit("roles.json", '"items.delete"', '"items.read.own"')
    assert dev.wait(event="deployed", state="changed")["part"] == "roles"

    package = project.folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text('NAME = "x"\n', "utf-8")
    dev.wait(event="deployed", part="worker", state="changed")
    (package / "__init__.py").write_text('NAME = "y"\n', "utf-8")
    dev.wait(event="deployed", part="worker", state="changed")
    project.edit("worker.py", "async def summary(params, ctx):",
                 "async def summary(params, ctx):\n    worker.log.info('it counts')")  # fmt: skip
    dev.wait(event="deployed", part="worker", state="changed")
    summary(server)
    assert dev.wait(event="log", message="it counts")["level"] == "info"
    assert dev.stop() == 130


def test_mistakes_keep_the_last_version_and_have_a_line(
    dev: Development, project: Author, server: Server
) -> None:
    good = summary(server)
    project.edit("worker.py", "worker.run()", "worker.run(")
    assert "worker.py, line 25: " in dev.wait(event="refused", part="worker")["error"]
    project.edit("worker.py", "worker.run(", "1 / 0")
    refused = dev.wait(event="refused", part="worker")["error"]
    assert refused.startswith("worker.py, line 25: ")
    assert "ZeroDivisionError" in refused
    project.edit("manifest.json", '"date"', '"dat"')
    refused = dev.wait(event="refused", part="manifest")["error"]
    assert refused.startswith("manifest.json, line 11: ")
    assert summary(server) == good
    project.edit("manifest.json", '"dat"', '"date"')
    project.edit("worker.py", "1 / 0", "worker.run()")
    dev.wait(event="deployed", part="worker")
    assert summary(server) == good


def test_a_change_is_there_in_under_a_second(
    dev: Development, project: Author, server: Server
) -> None:
    def until(check: Callable[[], bool]) -> float:
        began = time.monotonic()
        while not check():
            assert time.monotonic() < began + LIMIT
            time.sleep(0.01)
        return time.monotonic() - began

    of_worker: list[float] = []
    of_manifest: list[float] = []
    of_frontend: list[float] = []
    host = {"host": f"edited.localhost:{server.url.rpartition(':')[2]}"}
    for number in range(5):
        name = f"items_{number}"
        before = '"items": total' if number == 0 else f'"items_{number - 1}": total'
        project.edit("worker.py", before, f'"{name}": total')
        of_worker.append(until(lambda name=name: name in summary(server)))
        field = f"field_{number}"
        project.edit("manifest.json", '{ "name": "done"',
                     f'{{ "name": "{field}", "type": "text" }}, {{ "name": "done"')  # fmt: skip
        of_manifest.append(until(lambda field=field: field in fields(server)))
        text = f"<!-- {number} -->"
        project.edit("frontend/index.html", "<main", f"{text}<main")
        of_frontend.append(until(lambda text=text: text in server.http.get("/", headers=host).text))
    assert min(of_worker) < QUICK, of_worker
    assert min(of_frontend) < QUICK, of_frontend
    assert min(of_manifest) < QUICK, of_manifest


def fields(server: Server) -> list[str]:
    [entity] = server.admin.get("/api/v1/apps/edited").json()["entities"]
    return [field["name"] for field in entity["fields"]]


def test_a_folder_without_a_server_of_its_own_is_refused(stranger: Author) -> None:
    stranger.ok("app", "new", "edited")
    inside = stranger.inside("edited")
    refusal = inside.refused("app", "dev", "--url", "http://127.0.0.1:1")
    assert refusal.startswith("sign in first")


def pids_of(folder: Path) -> list[int]:
    """The processes that run in a folder."""
    pids: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids
