"""The threads that touch the disk, apart from those of everything else."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import anyio
import structlog

from kernel.public import ConcurrencyLimiter, Unavailable, failure

log = structlog.get_logger("caudex.storage")

T = TypeVar("T")

THREADS: Final = 8
MAX_WAITING: Final = 1000
"""Calls that wait for a thread or run in one."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskThreads:
    """Runs blocking calls. One that takes too long goes on, and no caller waits for it.

    A disk that hangs stops these threads and no others, and each request gets its error in time.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pool = ThreadPoolExecutor(THREADS, "caudex-storage")
        self._calls = ConcurrencyLimiter(MAX_WAITING, message="the file store is busy")

    async def run(self, work: Callable[..., T], *arguments: object, seconds: float = 0.0) -> T:
        """Run a call and return its result. Raises Unavailable for errors of the disk.

        When it is cancelled or too late, the call may still run.
        """
        async with self._calls.hold():
            return await self.wait(self.begin(work, *arguments), seconds)

    def begin(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Begin a call that `wait` ends, so that its caller can do something meanwhile."""
        try:
            return self._pool.submit(work, *arguments)
        except RuntimeError:
            raise Unavailable("the server is stopping") from None

    async def wait(self, call: Future[T], seconds: float = 0.0) -> T:
        """Wait for a call that began, and return its result. Raises Unavailable as `run` does."""
        try:
            with anyio.fail_after(seconds or self.seconds):
                return await asyncio.wrap_future(call)
        except TimeoutError:
            log.warning("the file store does not answer", seconds=seconds or self.seconds)
            raise Unavailable("the file store does not answer", retry_after=10) from None
        except OSError as error:
            raise explain(error) from error

    def start(self, work: Callable[[], object]) -> None:
        """Start a call without a caller that waits, such as the end of one that was given up."""
        try:
            self._pool.submit(work)
        except RuntimeError:  # the server ends
            work()

    def close(self) -> None:
        """Take no more calls, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=False)


def explain(error: OSError) -> Unavailable:
    """Return an error of the disk as one for the caller; the log gets the whole of it."""
    if error.errno in _FULL:
        return Unavailable("the file store is full", retry_after=60)
    log.warning("the file store failed", **failure(error))
    return Unavailable("the file store cannot be reached", retry_after=10)
