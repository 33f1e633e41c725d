"""A load generator: HTTP/1.1 over raw connections, so cheap that the cores are the server's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

import msgspec

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
GRACE = 10.0
"""Seconds that the last replies of a run may take."""


class Sample(msgspec.Struct):
    """What one run measured; times in seconds."""

    count: int
    per_second: float
    p50: float
    p99: float


class BadReply(RuntimeError):
    """The server refused what was to be measured: the figures would mean nothing."""


def request(method: str, url: str, path: str, token: str = "", body: bytes | None = None) -> bytes:
    """The bytes of a request."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


class _Run:
    def __init__(self, requests: Sequence[bytes], seconds: float, count: int | None) -> None:
        self.requests = requests
        self.deadline = time.perf_counter() + seconds
        self.left = count
        self.durations: list[float] = []
        self.last = 0.0
        self.problem = ""

    def goes_on(self) -> bool:
        if self.problem or time.perf_counter() >= self.deadline:
            return False
        if self.left is not None:
            self.left -= 1
            return self.left >= 0
        return True


class _Connection(asyncio.Protocol):
    """One request after the other, each as soon as the reply to the one before is there."""

    def __init__(self, run: _Run, first: int) -> None:
        self._run = run
        self._next = first
        self._reply = bytearray()
        self._size = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._reply += data
        if not self._size:
            head = self._reply.find(b"\r\n\r\n")
            if head < 0:
                return
            length = LENGTH.search(self._reply, 0, head)
            self._size = head + 4 + int(length[1] if length else 0)
        if len(self._reply) >= self._size:
            self._answered()

    def connection_lost(self, exc) -> None:
        if not self.done.done():
            self._run.problem = self._run.problem or "the server closed a connection"
            self.done.set_result(None)

    def _send(self) -> None:
        if not self._run.goes_on():
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        requests = self._run.requests
        self._next = (self._next + 1) % len(requests)
        self._reply.clear()
        self._size = 0
        self._began = time.perf_counter()
        self._transport.write(requests[self._next])

    def _answered(self) -> None:
        run = self._run
        run.last = time.perf_counter()
        run.durations.append(run.last - self._began)
        status = STATUS.match(self._reply)
        if status is None or status[1][:1] != b"2":
            run.problem = bytes(self._reply[-300:]).decode("utf-8", "replace")
        self._send()


async def measure(
    url: str,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    count: int | None = None,
) -> Sample:
    """Send `requests` round and round for `seconds`, or `count` of them. Raises BadReply."""
    run = _Run(requests, seconds, count)
    place, loop = urlsplit(url), asyncio.get_running_loop()
    began = time.perf_counter()
    opened = [
        await loop.create_connection(
            lambda first=n: _Connection(run, first * 7 % len(requests)),
            place.hostname,
            place.port,
        )
        for n in range(connections)
    ]
    async with asyncio.timeout(seconds + GRACE):
        for _, connection in opened:
            await connection.done
    if run.problem or not run.durations:
        raise BadReply(run.problem or "no reply at all")
    ordered = sorted(run.durations)
    return Sample(
        count=len(ordered),
        per_second=len(ordered) / (run.last - began),
        p50=median(ordered),
        p99=ordered[int(len(ordered) * 0.99)],
    )


async def drain(url: str, raw: bytes) -> tuple[int, int]:
    """Send one request and read its chunked reply to the end, keeping nothing of it.

    Returns (bytes, line feeds). Raises BadReply when the reply does not end as it should.
    """
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(raw)
    size = lines = 0
    tail = b""
    try:
        while piece := await reader.read(1 << 18):
            size += len(piece)
            lines += piece.count(b"\n")
            tail = (tail + piece)[-16:]
            if tail.endswith(b"\r\n0\r\n\r\n"):
                return size, lines
    finally:
        writer.close()
    raise BadReply(f"the stream broke off after {size} bytes")
