"""Ends the stream of a log when its caller may not read it any more."""

from __future__ import annotations

import time

import anyio

from kernel.public import (
    ACCESS,
    HOOKS,
    LOGS_READ,
    KernelError,
    Request,
    Services,
    Unavailable,
    hookspecs,
)


class Guard:
    """Asks again and again what was asked before the stream began."""

    def __init__(self, services: Services, request: Request) -> None:
        self._services = services
        self._request = request

    async def refusal(self, every: float = 0.5, unchecked: float = 30.0) -> bytes:
        """Wait until the caller may not read any more; nothing is sent last.

        It is asked all `every` seconds, from memory, which notifications of changes have corrected
        by then, or by a read of the account. While the database is not available, the stream goes
        on for `unchecked` seconds.
        """
        checked_at = time.monotonic()
        while time.monotonic() - checked_at < unchecked:
            await anyio.sleep(every)
            try:
                if not await self._may_read():
                    return b""
            except Unavailable:
                continue
            checked_at = time.monotonic()
        return b""

    async def _may_read(self) -> bool:
        """Whether the token has not ended and the role is still held. Raises Unavailable."""
        hooks = self._services.get(HOOKS)
        access = self._services.get(ACCESS)
        try:
            actor = await hooks.first(hookspecs.authenticate, request=self._request)
            if actor is None:
                return False
            await access.authorize(actor, LOGS_READ, self._request.scope["path_params"])
        except Unavailable:
            raise
        except KernelError:
            return False
        return True
