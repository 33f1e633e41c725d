"""The health of a store, known without asking it at each request."""

from __future__ import annotations

from typing import Final

import structlog

from kernel.contracts.base import Health
from kernel.contracts.files import Storage
from kernel.errors import KernelError

log = structlog.get_logger("caudex.storage")

WATCH_SECONDS: Final = 15.0
"""Between two checks of a store."""


class StorageWatch:
    """Checks a store, and remembers what was wrong at the last check.

    Run `step` as a background task every `WATCH_SECONDS`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._problem = ""

    async def step(self) -> None:
        """Check the store once; a change is logged."""
        problem = ""
        try:
            await self._storage.check()
        except KernelError as error:
            problem = error.message
        if problem and problem != self._problem:
            log.error("the file store has a problem", problem=problem, at=self._storage.location)
        elif self._problem and not problem:
            log.info("the file store is well again", at=self._storage.location)
        self._problem = problem

    def health(self, name: str) -> Health:
        """Report the last check. A server without its files answers everything else."""
        if not self._problem:
            return Health(name=name)
        sentence = f"{self._problem[:1].upper()}{self._problem[1:]}."
        return Health(name=name, state="Error", problems=(sentence,))
