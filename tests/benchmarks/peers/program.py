"""A peer's server as a process: started, waited for, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.benchmarks import processes

ROOT = Path(__file__).parents[3]
BENCH = ROOT / ".bench"
START_SECONDS = 60.0


def program(name: str) -> str:
    """A program of the bench environment. Raises FileNotFoundError that says what to do."""
    found = BENCH / "bin" / name
    if not found.exists():
        raise FileNotFoundError(f".bench/bin/{name} is missing: `make bench` sets it up")
    return str(found)


def free_port() -> int:
    """A port of the loopback address that no one has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.url = url
        self._process = process

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        return processes.cpu(self._process.pid)

    def memory(self) -> float:
        """Resident memory in MB."""
        return processes.memory(self._process.pid)


@contextmanager
def serving(
    command: Sequence[str], log: Path, url: str, ready: str, environment: Mapping[str, str]
) -> Generator[Peer]:
    """Run a server until the end of the block; it is up once `ready` answers."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        _wait(process, url + ready, log)
        yield Peer(process, url)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"a peer did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
