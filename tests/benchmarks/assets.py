"""Files of a frontend, beside a folder that Starlette sends."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx

from .figures import Case, Measured
from .load import load, request
from .peers.program import Peer, free_port, serving
from .stage import Stage

APP = "shop"
SCRIPT = "assets/index-DiwrgTda.js"
CONNECTIONS = 32
FILES = {
    "index.html": f"<!doctype html><title>Shop</title><script src=/{SCRIPT}></script>",
    SCRIPT: "export const numbers = [" + ", ".join(str(n * n) for n in range(6_000)) + "];\n",
}


class Server:
    """Sends one file again and again; `server` is whose processor time counts."""

    def __init__(self, name: str, server: Stage | Peer, host: str) -> None:
        self.name = name
        self._server = server
        self._requests = [request("GET", f"http://{host}", f"/{SCRIPT}")]

    def measure(self, seconds: float) -> Measured:
        """Send requests without an encoding: Starlette's files have none."""
        used = self._server.cpu()
        sample = load(self._server.url, self._requests, connections=CONNECTIONS, seconds=seconds)
        return Measured(
            rate=sample.per_second,
            server_cpu=(self._server.cpu() - used) / sample.count or None,
            p50=sample.p50,
            p99=sample.p99,
        )


def cases(stage: Stage, own: ExitStack) -> list[Case]:
    """Deploy a frontend, and serve the same files by Starlette."""
    stage.sign_in()
    stage.call("POST", "/api/v1/apps", {"appId": APP, "name": "Shop"})
    stage.upload(f"/api/v1/apps/{APP}/frontend", _pack())
    folder = stage.folder / "site"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    peer = own.enter_context(_starlette(stage, folder))
    host = f"{APP}.localhost:{stage.url.rpartition(':')[2]}"
    ours = httpx.get(f"{stage.url}/{SCRIPT}", headers={"host": host})
    if ours.text != httpx.get(f"{peer.url}/{SCRIPT}").text:
        raise RuntimeError("both must send the same file")
    return [
        Case(
            "a file of a frontend",
            [Server(stage.name, stage, host)],
            [Server("Starlette StaticFiles", peer, peer.url.removeprefix("http://"))],
        )
    ]


def _starlette(stage: Stage, folder: Path) -> AbstractContextManager[Peer]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "-m", "uvicorn", "tests.benchmarks.peers.static_app:app", "--no-access-log",
        "--port", url.rpartition(":")[2], "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip
    environment = {"PEER_FILES": str(folder)}
    return serving(command, stage.folder / "static.log", url, "/index.html", environment)


def _pack() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue())
