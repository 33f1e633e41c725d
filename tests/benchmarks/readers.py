"""Many clients that follow an entity, in a process of their own: they take no time of the load's.

    python -m tests.benchmarks.readers < what to open as JSON, in one line

It says that all streams are ready by a line, and reads until its input ends.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec


class Streams(msgspec.Struct, frozen=True):
    """What to open: one stream for each request, as bytes of HTTP."""

    url: str
    requests: list[bytes]


@contextmanager
def reading(url: str, requests: list[bytes]) -> Generator[None]:
    """Read streams in a process of their own, for as long as the context is open."""
    command = [sys.executable, "-m", "tests.benchmarks.readers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(Streams(url, requests)) + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the streams could not be opened")
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(30)


def open_stream(url: str, request: bytes) -> socket.socket:
    """Open a stream and read until it is ready."""
    address = urlsplit(url)
    stream = socket.create_connection((address.hostname or "", address.port or 80), timeout=60)
    stream.sendall(request)
    for line in read_lines(stream):
        if line.startswith("HTTP/") and " 200 " not in line:
            raise RuntimeError(line)
        if line == "event: ready":
            return stream
    raise RuntimeError("the stream ended")


def read_lines(stream: socket.socket) -> Iterator[str]:
    """Yield the lines of a stream until it ends."""
    rest = b""
    while piece := stream.recv(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.strip().decode() for line in lines)


def main() -> None:
    """Open the streams, and read them."""
    streams = msgspec.json.decode(sys.stdin.buffer.readline(), type=Streams)
    buffer = bytearray(1 << 18)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        for request in streams.requests:
            selector.register(open_stream(streams.url, request), selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin.buffer:
                    return
                assert isinstance(key.fileobj, socket.socket)
                if not key.fileobj.recv_into(buffer):
                    raise RuntimeError("a stream ended")


if __name__ == "__main__":
    main()
