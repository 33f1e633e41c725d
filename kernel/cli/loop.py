"""The event loop of a server process: the server ends it, and no plugin does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
import uvloop

from kernel.errors import PluginFailed, ends_process
from kernel.hooks.fault_finder import FaultFinder

T = TypeVar("T")
log = structlog.get_logger("caudex.serve")


class LoopInUse(PluginFailed):
    """A plugin tried to stop the event loop."""

    remedy = "end your own tasks: the loop ends with the server"


class ServerLoop(uvloop.Loop):
    """Runs until its main task is done.

    A task that raises SystemExit, which asyncio lets end a loop, ends only itself.
    """

    _main: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Stop once the main task is done. Raises LoopInUse before."""
        if self._main is not None and not self._main.done():
            raise LoopInUse("the event loop is the server's")
        super().stop()

    def run_main(self, work: Coroutine[Any, Any, T], fault_finder: FaultFinder) -> T:
        """Run the main task, and return its result."""
        main = self.create_task(work)
        self._main = main
        while True:
            try:
                return self.run_until_complete(main)
            except (SystemExit, KeyboardInterrupt) as error:
                if main.done() or ends_process(error):
                    raise
                log.error("a plugin tried to end the server", error=type(error).__name__,
                          exc_info=error, **fault_finder.blame(error))  # fmt: skip
