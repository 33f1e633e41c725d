"""Clients that send without a pause, and take next to no time themselves."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from urllib.parse import urlsplit

import msgspec

from tests.faults.support import User

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Call(msgspec.Struct, frozen=True):
    """A request."""

    method: str
    path: str
    body: object = None


class Callers:
    """Sends the requests of a user one after the other, on several connections."""

    def __init__(self, user: User, calls: Sequence[Call], connections: int) -> None:
        self._place = urlsplit(str(user.base_url))
        self._token = user.headers["authorization"]
        self._calls = cycle([self._encoded(call) for call in calls])
        self._connections = connections
        self.statuses = Counter[int]()
        self.seconds = list[float]()
        """What each answer took."""

    def percentile(self, part: float) -> float:
        """Return the seconds that this part of the requests took at most."""
        seconds = sorted(self.seconds)
        return seconds[round((len(seconds) - 1) * part)]

    def longer_than(self, least: float) -> int:
        """Return how many requests took longer."""
        return sum(seconds > least for seconds in self.seconds)

    def tasks(self) -> Iterator[asyncio.Task[None]]:
        """Start to send; cancel the tasks to end that."""
        for _ in range(self._connections):
            yield asyncio.get_running_loop().create_task(self._repeat())

    def _encoded(self, call: Call) -> bytes:
        body = b"" if call.body is None else msgspec.json.encode(call.body)
        head = [
            f"{call.method} {call.path} HTTP/1.1",
            f"host: {self._place.netloc}",
            f"authorization: {self._token}",
            "content-type: application/json",
            f"content-length: {len(body)}",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body

    async def _repeat(self) -> None:
        reader, writer = await asyncio.open_connection(self._place.hostname, self._place.port)
        try:
            while True:
                writer.write(next(self._calls))
                began = time.monotonic()
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
                self.seconds.append(time.monotonic() - began)
                self.statuses[int(head.split(b" ", 2)[1])] += 1
        finally:
            writer.close()


def send(seconds: float, *callers: Callers) -> None:
    """Let callers send for so long, all at once."""

    async def work() -> None:
        tasks = [task for each in callers for task in each.tasks()]
        done, waiting = await asyncio.wait(tasks, timeout=seconds)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for task in done:
            task.result()

    asyncio.run(work())
