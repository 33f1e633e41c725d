"""What many readers of a flooded log cost the server, in processor time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest

from kernel.public import LOGS
from kernel.testing import Server

READERS = 40
LINES = 6000
READ = """
import select, socket, sys

host, port, count, token = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
ask = (f"GET /api/v1/apps/flood/logs?tail=0 HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n"
       f"Authorization: Bearer {token}\\r\\n\\r\\n")
streams = [socket.create_connection((host, port)) for _ in range(count)]
for stream in streams:
    stream.sendall(ask.encode())
    assert b"200" in stream.recv(65536)
print("ready", flush=True)
seen = dict.fromkeys(streams, 0)
while min(seen.values()) < int(sys.argv[5]):
    for stream in select.select(streams, [], [])[0]:
        seen[stream] += stream.recv(1 << 20).count(b"data: ")
print("done", flush=True)
"""
"""Reads in a process of its own, so its work is not the server's."""


@contextmanager
def reading(server: Server, readers: int) -> Generator[subprocess.Popen[str]]:
    """Let so many readers follow the log; the process says when each has all lines."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    token = server.admin.tokens["accessToken"]
    arguments = [host, port, str(readers), token, str(LINES)]
    with subprocess.Popen(
        [sys.executable, "-c", READ, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


async def _flood(server: Server) -> None:
    """Write as fast as an app may, 2,000 lines a second."""
    logs = server.services.get(LOGS)
    for number in range(LINES):
        logs.write("flood", "info", f"line {number} {'x' * 80}")
        if number % 100 == 99:
            await anyio.sleep(0.05)


async def _used() -> float:
    return time.thread_time()


def _cost(server: Server, readers: int) -> float:
    """Return the processor time of the event loop for a flood with so many readers."""
    with reading(server, readers) as process:
        assert process.stdout
        before = server.run(_used)
        server.run(_flood, server)
        assert process.stdout.readline() == "done\n"
        return server.run(_used) - before


@pytest.mark.slow
def test_forty_readers_of_a_flood_cost_little_more_than_one(make_server):
    options = {"readers_per_app": 2 * READERS, "lines_per_second": 10_000}
    server: Server = make_server({"plugins": {"logs": options}})
    server.install({"appId": "flood", "name": "Flood"})
    _cost(server, 1)  # what is done once
    one = _cost(server, 1)
    many = _cost(server, READERS)
    assert many < 3 * one, f"{one:.2f} s of processor time with one reader, {many:.2f} s with 40"
