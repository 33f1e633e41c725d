"""uvicorn without an application: what is left when all that a server is for is taken out."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.stage import Stage

from .program import Peer, free_port, serving


class Bare:
    """The running server, and the bodies that it answers with."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self.peer = peer
        self._folder = folder

    def answers(self, name: str, body: bytes) -> str:
        """Let it answer with a body, and return the path."""
        (self._folder / name).write_bytes(body)
        return f"/{name}"


@contextmanager
def bare(stage: Stage) -> Generator[Bare]:
    """Run it, by the Python and the uvicorn of the server itself."""
    folder = stage.folder / "bodies"
    folder.mkdir()
    (folder / "ready").write_bytes(b"[]")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "-m", "uvicorn", "tests.benchmarks.peers.bare_app:app", "--no-access-log",
        "--port", url.rpartition(":")[2], "--loop", "uvloop", "--http", "httptools",
        "--interface", "asgi3", "--no-server-header", "--lifespan", "off",
    ]  # fmt: skip
    environment = {"PEER_BODIES": str(folder)}
    with serving(command, stage.folder / "bare.log", url, "/ready", environment) as peer:
        yield Bare(peer, folder)
