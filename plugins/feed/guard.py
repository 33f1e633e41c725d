"""Asks again and again what was asked before a stream began: who calls, and what it may read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final

import anyio

from kernel.public import (
    HOOKS,
    IDENTITY,
    Actor,
    Forbidden,
    KernelError,
    Request,
    Services,
    Unauthenticated,
    Unavailable,
    Watch,
    hookspecs,
)

from .events import EndReason, write_end
from .shared import Shared

EVERY: Final = 0.75
"""Seconds between two looks. They read memory, which notifications of changes have corrected by
then."""
UNCHECKED: Final = 30.0
"""Seconds for which a stream goes on while the database cannot be asked."""


OF_ONE_STREAM: Final = frozenset({b"content-length", b"last-event-id", b"referer", b"x-request-id"})
"""Headers in which streams of one caller differ."""


class StreamGuard:
    """Ends a stream whose caller may read other things than when it began."""

    def __init__(self, services: Services, request: Request, watches: Sequence[Watch]) -> None:
        self._services = services
        self._request = request
        self._watches = watches

    @property
    def key(self) -> Hashable:
        """Equal for streams that end together: of the same caller, with the same watches."""
        scope = self._request.scope
        headers = [header for header in scope["headers"] if header[0] not in OF_ONE_STREAM]
        request = (self._request.address, scope["path"], scope["query_string"], frozenset(headers))
        watched = tuple(
            (watch.watched.app_id, watch.watched.entity, watch.key) for watch in self._watches
        )
        return request, watched

    async def refusal(self) -> bytes:
        """Wait for the end, and return the event that says why."""
        checked_at = time.monotonic()
        while time.monotonic() - checked_at < UNCHECKED:
            await anyio.sleep(EVERY)
            try:
                reason = await self.find_reason()
            except Unavailable:
                continue
            if reason is not None:
                return write_end(reason)
            checked_at = time.monotonic()
        return write_end("session")

    async def find_reason(self) -> EndReason | None:
        """Return why the stream has to end, or None. Raises Unavailable."""
        try:
            actor = await self._services.get(HOOKS).first(
                hookspecs.authenticate, request=self._request
            )
        except Unavailable:
            raise
        except (Unauthenticated, Forbidden) as error:
            return await self._explain(error)
        if actor is None:
            return "session"
        for watch in self._watches:
            try:
                reason = await watch.find_end(actor)
            except Unavailable:
                raise
            except KernelError:  # such as a hook that fails: a list would fail as well
                return "role"
            if reason is not None:
                return reason
        return None

    async def _explain(self, error: KernelError) -> EndReason:
        """Say why the credentials are good no more."""
        actor: Actor = self._request.actor
        if "expired" in error.message:
            return "token expired"
        identity = self._services.find(IDENTITY)
        if identity is not None and actor.user_id is not None:
            user = await identity.user(actor.user_id)
            if user is None or user.disabled:
                return "user disabled"
        if actor.limits is not None and actor.limits.key:
            return "key"
        return "session"


class SharedGuards:
    """Lets one guard watch over all streams of the same caller with the same watches."""

    def __init__(self) -> None:
        self._ends = dict[Hashable, Shared[bytes]]()
        self._streams = Counter[Hashable]()

    async def refusal(self, guard: StreamGuard) -> bytes:
        """See `StreamGuard.refusal`."""
        key = guard.key
        end = self._ends.setdefault(key, Shared[bytes]())
        self._streams[key] += 1
        try:
            return await end.get(guard.refusal)
        finally:
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]
            if self._ends.get(key) is end and (end.value is not None or key not in self._streams):
                del self._ends[key]
