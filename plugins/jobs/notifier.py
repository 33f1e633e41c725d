"""Notify every server process of pending jobs: once for all jobs that come within a moment."""

from __future__ import annotations

from typing import Final

import anyio
import structlog

from kernel.public import KernelError, Statements, server_actor

TOPIC: Final = "jobs"
PENDING: Final = "due:"
"""Prefix of the names of apps with pending jobs; without names it means any app."""

CANCEL: Final = "cancel:"
"""Prefix of the id of a job that was cancelled while it ran."""

REMOVED: Final = "gone:"
"""Prefix of the id of an app that is being removed."""

log = structlog.get_logger("caudex.jobs")


class PendingNotifier:
    """A lost notification only delays a job until the next poll, so none is sent again."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._apps: set[str] = set()
        self._filled = anyio.Event()

    def notify_pending(self, app_id: str) -> None:
        """Note that an app has a pending job."""
        self._apps.add(app_id)
        self._filled.set()

    async def run(self) -> None:
        """Publish notifications while the server runs, at most 20 a second."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            names, self._apps = ",".join(sorted(self._apps)), set()
            await anyio.sleep(
                await self._publish(PENDING + names if len(names) <= 3000 else PENDING)
            )

    async def _publish(self, payload: str) -> float:
        """Return the seconds until the next notification."""
        try:
            with anyio.CancelScope(shield=True):
                await self._statements.run(server_actor(), lambda tx: tx.publish(TOPIC, payload))
        except KernelError:
            pass
        except Exception as error:
            log.error("other servers cannot be notified of jobs", exc_info=error)
            return 1.0
        return 0.05
