"""Argon2id (RFC 9106) off the event loop, a bounded number at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from kernel.public import Unavailable

T = TypeVar("T")
PASSES = 2
MEMORY = 19 * 1024 * 1024
"""Bytes; with two passes the second choice of OWASP's password storage cheat sheet."""

PARAMETERS = f"$argon2id$v=19$m={MEMORY // 1024},t={PASSES},p=1$"
THREADS = 2
MAX_WAITING = 64


class PasswordHasher:
    """Makes and checks PHC strings. Raises Unavailable when too many wait."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(THREADS)
        self._pending = 0
        self._nobody = _hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Hash a password, every character of it, with a fresh salt."""
        return await self._run(lambda: _hash(password))

    async def verify(self, phc: str | None, password: str) -> bool:
        """Check a password; without a hash the same work is done in vain, so that time tells
        nothing."""
        fits = await self._run(lambda: _verify(phc or self._nobody, password))
        return fits and phc is not None

    def outdated(self, phc: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return not phc.startswith(PARAMETERS)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= THREADS + MAX_WAITING:
            raise Unavailable("too many logins at the same moment")
        self._pending += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._pending -= 1


def _hash(password: str) -> str:
    return argon2id.str(password.encode(), opslimit=PASSES, memlimit=MEMORY).decode("ascii")


def _verify(phc: str, password: str) -> bool:
    try:
        return argon2id.verify(phc.encode(), password.encode())
    except InvalidkeyError:
        return False
