"""Tells every server process that jobs wait: once for all that come within a moment."""

from __future__ import annotations

from typing import Final

import anyio
import structlog

from kernel.public import KernelError, Statements, server_actor

TOPIC: Final = "jobs"
DUE: Final = "due:"
"""Followed by the apps, or by nothing for any."""

CANCEL: Final = "cancel:"
"""Followed by the id of a job that is not wanted any more."""

GONE: Final = "gone:"
"""Followed by an app that is being removed."""

QUIET: Final = 0.05
"""Seconds between two announcements."""

PAUSE: Final = 1.0
"""Seconds after a fault that is not the database's being away."""

MAX_LENGTH: Final = 3000

log = structlog.get_logger("caudex.jobs")


class Announcer:
    """A hint that gets lost costs a poll's wait, so nothing is tried twice."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._apps: set[str] = set()
        self._filled = anyio.Event()

    def announce(self, app_id: str) -> None:
        """Note that a job of an app has become due."""
        self._apps.add(app_id)
        self._filled.set()

    async def run(self) -> None:
        """Tell, as long as the server lives."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            names, self._apps = ",".join(sorted(self._apps)), set()
            await anyio.sleep(await self._tell(DUE + names if len(names) <= MAX_LENGTH else DUE))

    async def _tell(self, payload: str) -> float:
        """Return the seconds until the next announcement."""
        try:
            with anyio.CancelScope(shield=True):
                await self._statements.run(server_actor(), lambda tx: tx.publish(TOPIC, payload))
        except KernelError:
            return QUIET
        except Exception as error:
            log.error("other servers cannot be told of jobs", exc_info=error)
            return PAUSE
        return QUIET
