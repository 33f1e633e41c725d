"""Hostile installs of dependencies: what they take is measured, and nothing of them is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.workers.isolation.accounts import list_processes
from tests.faults.support import FIRST_UID, Site, User
from tests.plugins.workers.support import targz
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm on this machine"),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of apps need a server as root")

SCRIPT = """
const fs = require("fs"), { spawn } = require("child_process");
const waits = "setInterval(() => {}, 1000)";
"""
FILLS = """
for (let number = 0; number < 60; number++)
  fs.writeFileSync(`file${number}`, Buffer.alloc(1 << 20, 1));
eval(waits);
"""
"""Takes 60 MB of the disk, and does not end by itself."""
HOARDS = """
for (let number = 0; number < 6; number++)
  spawn(process.execPath, ["-e", `globalThis.held = Buffer.alloc(90 << 20, 1); ${waits}`]);
eval(waits);
"""
"""Takes 540 MB of memory in many processes, and does not end by itself."""
LEAVES = """
const apart = { env: {}, detached: true, stdio: "ignore" };
const inner = `require("child_process").spawn(process.execPath, ["-e", "${waits}"],
  { env: {}, detached: true, stdio: "ignore" }).unref()`;
spawn(process.execPath, ["-e", inner], apart).on("exit", () => process.exit(1));
"""
"""Leaves a process that has left its group and has no variable of its worker, and fails."""


def hostile_package(script: str) -> dict[str, str | bytes]:
    """The files of an app: npm runs a script of its own before it installs."""
    package = '{"dependencies": {"near": "file:./near"}, "scripts": {"preinstall": "node it.js"}}'
    return {
        "index.js": "serve({})", "package.json": package, "it.js": SCRIPT + script,
        "near/package.json": '{"name": "near", "version": "1.0.0"}',
    }  # fmt: skip


def deploy_package(user: User, app: str, script: str) -> Any:
    form = {"archive": ("worker.tar.gz", targz(hostile_package(script)), "application/gzip")}
    return user.post(f"/api/v1/apps/{app}/deploy", files=form, timeout=120)


def has_staging(site: Site) -> bool:
    return any((site.folder / "data" / "workers").glob("[!.]*/*/.new-*"))


def test_an_install_that_takes_too_much_of_the_disk_is_ended_and_the_reply_says_so(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(plugins__workers={"max_disk_mb": 40, "bun": "/nonexistent"})
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        answer = deploy_package(user, app, FILLS)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error.endswith("MB of the disk, over max_disk_mb = 40: the deploy is ended"), error
        assert not has_staging(site)


def test_an_install_that_takes_too_much_memory_is_ended_and_the_reply_says_so(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(plugins__workers={"memory_mb": 400, "bun": "/nonexistent"})
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        answer = deploy_package(user, app, HOARDS)
        assert answer.status_code == 400, answer.text
        assert "MB of memory, over memory_mb = 400: killed" in answer.json()["error"]
        assert not has_staging(site)


@as_root
def test_nothing_is_left_of_an_install_that_failed(make_site: Callable[..., Site]) -> None:
    site = make_site(plugins__workers={"bun": "/nonexistent"})
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        assert deploy_package(user, app, LEAVES).status_code == 400
        eventually(lambda: not processes_of_apps(), 10, processes_of_apps)


def processes_of_apps() -> list[Path]:
    return [
        Path(f"/proc/{pid}") for pid, uid in list_processes() if FIRST_UID <= uid < FIRST_UID + 1000
    ]
