"""Archives, apps and workers to test with."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from kernel.testing import Client, Server
from plugins.workers.service import SERVICE
from tests.waiting import eventually

_count = itertools.count(1)

QUICK = {
    "start_timeout": 8, "rpc_timeout": 3, "shutdown_wait": 2, "term_wait": 1, "backoff": 0.05,
    "uid_base": 10_000_000 + os.getpid() % 40_000 * 1_000, "uid_count": 1_000,
}  # fmt: skip
"""Waits that a test can wait for, and accounts that no other run of the tests has: they are the
machine's, and apps have the same numbers there."""

PYTHON = """
import os, signal, sys, time
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def echo(params, ctx):
    return params

@worker.rpc
async def whoami(params, ctx):
    return ctx.caller

@worker.rpc
def fail(params, ctx):
    raise ValueError(params.get("say", "it broke"))

@worker.rpc
def pid(params, ctx):
    return os.getpid()

@worker.rpc
def facts(params, ctx):
    return {
        "environment": dict(os.environ), "uid": os.getuid(), "gids": os.getgroups(),
        "cwd": os.getcwd(), "umask": os.umask(0o077), "group": os.getpgid(0), "pid": os.getpid(),
        "app_id": ctx.app_id, "database_url": ctx.database_url,
        "files": len(os.listdir("/proc/self/fd")),
    }

@worker.rpc
def read(params, ctx):
    with open(params["path"], "rb") as file:
        return file.read(100).decode("latin-1")

@worker.rpc
def write(params, ctx):
    with open(os.path.expandvars(params["path"]), "w") as file:
        file.write("x")

@worker.rpc
def sleep(params, ctx):
    time.sleep(params["seconds"])
    return "slept"

@worker.rpc
def die(params, ctx):
    os._exit(params.get("status", 3))

@worker.rpc
def op(params, ctx):
    return getattr(ctx.collection(params["entity"]), params["op"])(params["data"])

@worker.rpc
async def op_async(params, ctx):
    return await getattr(ctx.collection(params["entity"]), params["op"])(params["data"])

@worker.rpc
async def op_own(params, ctx):
    return await getattr(worker.collection(params["entity"]), params["op"])(params["data"])

worker.run()
"""


def targz(files: Mapping[str, str | bytes]) -> bytes:
    """A tar.gz of plain files."""
    return gzip.compress(tar(files), 1)


def tar(files: Mapping[str, str | bytes]) -> bytes:
    """A tar of plain files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def install(server: Server, **more: Any) -> str:
    """Install an app with contacts and return its id."""
    app_id = f"app{next(_count)}"
    contacts = {
        "entityName": "contacts",
        "fields": [{"name": "name", "type": "text"}, {"name": "age", "type": "number"}],
    }
    manifest = {"appId": app_id, "name": app_id, "dataContract": [contacts], **more}
    answer = server.admin.post("/api/v1/apps", json=manifest)
    assert answer.status_code == 200, answer.text
    return app_id


def deploy(client: Client, app_id: str, files: Mapping[str, str | bytes] | bytes) -> httpx.Response:
    """Deploy an archive."""
    archive = files if isinstance(files, bytes) else targz(files)
    form = {"archive": ("worker.tar.gz", archive, "application/gzip")}
    return client.post(f"/api/v1/apps/{app_id}/deploy", files=form)


def deployed(server: Server, files: Mapping[str, str | bytes] | str = PYTHON) -> str:
    """Install an app, deploy its worker and return the app's id."""
    app_id = install(server)
    answer = deploy(server.admin, app_id, {"worker.py": files} if isinstance(files, str) else files)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": f"app '{app_id}' deployed and started"}
    return app_id


def rpc(client: Client, app_id: str, method: str, params: Any = None) -> httpx.Response:
    """Call a method."""
    body = {"method": method} if params is None else {"method": method, "params": params}
    return client.post(f"/api/v1/apps/{app_id}/rpc", json=body)


def result(client: Client, app_id: str, method: str, params: Any = None) -> Any:
    """Call a method and return what it returns."""
    answer = rpc(client, app_id, method, params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(client: Client, app_id: str) -> dict[str, Any]:
    """The worker's status."""
    answer = client.get(f"/api/v1/apps/{app_id}/worker/status")
    assert answer.status_code == 200, answer.text
    return answer.json()


def reaches(client: Client, app_id: str, state: str, seconds: float = 10) -> None:
    """Wait until the worker is in a state."""
    eventually(lambda: status(client, app_id)["status"] == state, seconds)


def grant(server: Server, user: Client, app_id: str, *permissions: str) -> None:
    """Give a user a role of its own with these permissions."""
    role, roles = f"role{next(_count)}", f"/api/v1/apps/{app_id}/roles"
    body = {"name": role, "permissions": list(permissions)}
    assert server.admin.post(roles, json=body).status_code == 200
    answer = server.admin.post(f"{roles}/assign", json={"userId": user.id, "role": role})
    assert answer.status_code == 200, answer.text


def processes(*markers: str) -> list[int]:
    """Live processes whose command line or environment holds these texts."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if all(marker.encode() in said for marker in markers) and state != "Z":
            found.append(int(folder.name))
    return found


def processes_of(server: Server, app: str) -> list[int]:
    """Live processes of an app of this very server: others have apps of such names as well."""
    return processes(f"{server.kernel.config.server.data_dir}/workers/", f"/{app}.")


def folder_of(data_dir: Path, app: str) -> Path:
    """The folder of an app, or a path without anything where it has none."""
    return next((data_dir / "workers").glob(f"[!.]*/{app}.*"), data_dir / "workers" / "none")


def supervisor_of(server: Server, app: str) -> Any:
    """The supervisor of an app that is installed, or None."""
    supervisors = server.services.get(SERVICE).reconciler.supervisors.values()
    return next((each for each in supervisors if each.app_id == app and not each.is_leaving), None)


@cache
def bun() -> str | None:
    """A bun: the one on PATH, or the one that npm's package `bun` brings, installed once."""
    if found := shutil.which("bun"):
        return found
    folder = Path(tempfile.gettempdir()) / "caudex-test-bun"
    program = folder / "node_modules" / "bun" / "bin" / "bun.exe"
    if not program.is_file() and (npm := shutil.which("npm")):
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "bun"]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    try:
        subprocess.run([program, "--version"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(program)
