"""Whether this process has written since the last look at the trail."""

from __future__ import annotations

import asyncio


class Writes:
    """Notes writes, and ends the rest of the reader that looks for them."""

    def __init__(self) -> None:
        self._has_written = False
        self._rest: asyncio.Future[None] | None = None

    def note(self) -> None:
        """Note a write. It is on the way of every write."""
        self._has_written = True
        if self._rest is not None:
            self._end_rest()

    async def wait(self, least: float, most: float) -> bool:
        """Wait for the next write; return whether there was one since the last wait.

        It takes `least` seconds or more, and without a write `most`.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not self._has_written:
            self._rest = loop.create_future()
            alarm = loop.call_at(began + max(least, most), self._end_rest)
            try:
                await self._rest
            finally:
                self._rest = None
                alarm.cancel()
        seconds_left = began + least - loop.time()
        if seconds_left > 0:
            await asyncio.sleep(seconds_left)
        has_written = self._has_written
        self._has_written = False
        return has_written

    def _end_rest(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
