"""Whether the reader of a stream may still read the log."""

from __future__ import annotations

import time
from typing import Final

import anyio

from kernel.public import (
    ACCESS,
    APP_USER,
    HOOKS,
    KernelError,
    Request,
    Services,
    Unavailable,
    hookspecs,
)

CHECK_EVERY: Final = 0.5
"""Seconds between two looks. The answers come from memory, which news of a change have corrected by
then, or cost a read of the account: the end of a token, of a session or of a role ends the stream
within a second."""
MAX_UNCHECKED: Final = 30.0
"""Seconds that a reader goes on while its rights cannot be checked: the database is away."""


class Guard:
    """Asks again and again what was asked before the stream began."""

    def __init__(self, services: Services, request: Request) -> None:
        self._services = services
        self._request = request

    async def refusal(self) -> None:
        """Wait until the caller may not read any more."""
        certain = time.monotonic()
        while time.monotonic() - certain < MAX_UNCHECKED:
            await anyio.sleep(CHECK_EVERY)
            try:
                if not await self._may_read():
                    return
            except Unavailable:
                continue
            certain = time.monotonic()

    async def _may_read(self) -> bool:
        """Whether the token has not ended and the role is still held. Raises Unavailable."""
        hooks, access = self._services.get(HOOKS), self._services.get(ACCESS)
        try:
            actor = await hooks.first(hookspecs.authenticate, request=self._request)
            if actor is None:
                return False
            await access.authorize(actor, APP_USER, self._request.scope["path_params"])
        except Unavailable:
            raise
        except KernelError:
            return False
        return True
