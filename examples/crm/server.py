"""A server for the demo alone: a free port, a data folder that goes away with it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from .client import ApiError, Client

ROOT = Path(__file__).parents[2]
BANNER = re.compile(r"on (http://\S+)")
CONFIG = """\
[server]
port = 0

[plugins.postgres]
port = 0
"""
START_SECONDS = 90.0
STOP_SECONDS = 40.0


class NoServer(Exception):
    """The server did not start; the message holds what it said."""


@contextmanager
def own_server() -> Generator[str]:
    """Start a server and yield its URL; it ends with the block. Raises NoServer."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-demo-"))
    folder.chmod(0o711)  # run as root, the database has an account of its own
    (folder / "caudex.toml").write_text(CONFIG, "utf-8")
    log = folder / "server.log"
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "kernel", "serve",
                    "--config", str(folder / "caudex.toml"), "--data-dir", str(folder / "data"),
                ],
                cwd=ROOT, env=_environment(), stdout=out, stderr=out,
            )  # fmt: skip
        try:
            yield _wait(process, log)
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    """Whether a Caudex server is there."""
    try:
        with closing(Client(url)) as client:
            mode = client.get("/api/v1/auth/mode")
    except (OSError, http.client.HTTPException, ApiError):
        return False
    return isinstance(mode, dict) and "authRequired" in mode


def _wait(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the line with the address, and return the address."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if (banner := BANNER.search(_text(log))) and answers(banner[1]):
            return banner[1]
        time.sleep(0.05)
    raise NoServer(f"the server did not start:\n{_text(log)[-2000:].strip()}")


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Ours, without what would lead the server to a database that is not the demo's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CAUDEX_") and name != "DATABASE_URL"
    }
