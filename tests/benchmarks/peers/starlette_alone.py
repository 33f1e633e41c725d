"""Starlette alone, which sends and takes files."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from tests.benchmarks.stage import Stage

from .program import Peer, free_port, serving


@contextmanager
def starlette_alone(stage: Stage) -> Generator[Peer]:
    """The running server; its packages are those of our server."""
    folder = stage.folder / "starlette"
    folder.mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "-m", "uvicorn", "tests.benchmarks.peers.starlette_app:app",
        "--no-access-log", "--port", url.rpartition(":")[2], "--loop", "uvloop",
        "--http", "httptools",
    ]  # fmt: skip
    log = stage.folder / "starlette.log"
    with serving(command, log, url, "/health", {"PEER_FOLDER": str(folder)}) as peer:
        yield peer
