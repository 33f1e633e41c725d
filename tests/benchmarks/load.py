"""Load: wrk where it is installed, else HTTP/1.1 over raw connections from an event loop."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Sequence
from statistics import median
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import uvloop

T = TypeVar("T")
WRK = shutil.which("wrk")
"""Takes a tenth of our own client's processor time, so it is used where there is one."""

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
GRACE = 30.0
"""Seconds that the last replies of a run may take."""

SCRIPT = """\
local raw = {{{requests}}}
local turn = 0
function request()
  turn = turn % #raw + 1
  return raw[turn]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("caudex %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
REPORTED = re.compile(r"^caudex (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


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


def run(work: Coroutine[object, object, T]) -> T:
    """Run our own client, on the fastest event loop there is."""
    return uvloop.run(work)


def load(
    url: str, requests: Sequence[bytes], *, connections: int, seconds: float, wrk: str | None = WRK
) -> Sample:
    """Keep `connections` busy for about `seconds`, at least one. Raises BadReply."""
    if wrk is None:
        return run(measure(url, requests, connections=connections, seconds=seconds))
    # wrk counts refusals but does not show them. One request of ours shows what they say.
    run(measure(url, requests[:1], connections=1, seconds=GRACE, count=1))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.format(requests=", ".join(map(_lua, requests))))
        script.flush()
        command = [
            wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
            "-s", script.name, url,
        ]  # fmt: skip
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds + 60
        )
    return wrk_sample(done.stdout + done.stderr)


def wrk_sample(output: str) -> Sample:
    """Read what our script lets wrk print. Raises BadReply when requests failed."""
    reported = REPORTED.search(output)
    if reported is None:
        raise BadReply(f"wrk reported nothing: {output[-300:]}")
    count, duration, p50, p99, errors = map(int, reported.groups())
    if errors or not count:
        raise BadReply(f"{errors} of {count} requests failed")
    return Sample(count=count, per_second=count / duration * 1e6, p50=p50 / 1e6, p99=p99 / 1e6)


def _lua(raw: bytes) -> str:
    """A string of Lua, byte by byte where a byte has a meaning there."""
    plain = set(range(32, 127)) - set(b'"\\')
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03d}" for b in raw) + '"'


def first_body(url: str, raw: bytes) -> bytes:
    """The body of the reply to one request, as it came. Raises BadReply."""
    bodies: list[bytes] = []
    run(measure(url, [raw], connections=1, seconds=GRACE, count=1, keep=bodies))
    return bodies[0]


class _Run:
    def __init__(
        self, requests: Sequence[bytes], seconds: float, count: int | None, keep: list[bytes] | None
    ) -> None:
        self.requests = requests
        self.keep = keep
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
        self._chunked = False
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
            self._chunked = CHUNKED.search(self._reply, 0, head) is not None
        whole = self._reply.endswith(b"\r\n0\r\n\r\n") if self._chunked else True
        if whole and len(self._reply) >= self._size:
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
        if run.keep is not None:
            body = bytes(self._reply).partition(b"\r\n\r\n")[2]
            run.keep.append(unchunked(body) if self._chunked else body)
        self._send()


def unchunked(body: bytes) -> bytes:
    """Take the lengths of the chunks out of a body (RFC 9112, 7.1)."""
    parts: list[bytes] = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        parts.append(body[:length])
        body = body[length + 2 :]
        if not length:
            break
    return b"".join(parts)


async def measure(
    url: str,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    count: int | None = None,
    keep: list[bytes] | None = None,
) -> Sample:
    """Send `requests` round and round for `seconds`, or `count` of them. Raises BadReply.

    The bodies of the replies go into `keep`.
    """
    run = _Run(requests, seconds, count, keep)
    place, loop = urlsplit(url), asyncio.get_running_loop()
    began = time.perf_counter()
    opened = [
        await loop.create_connection(
            lambda first=n: _Connection(run, first * 7 % len(requests)), place.hostname, place.port
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
