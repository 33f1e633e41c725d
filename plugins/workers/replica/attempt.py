"""One start of a worker until its end."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final, Literal

import anyio

State = Literal["new", "starting", "up", "stopping", "ended"]

NEXT: Final[Mapping[State, Set[State]]] = {
    "new": {"starting"},
    "starting": {"up", "stopping", "ended"},
    "up": {"stopping", "ended"},
    "stopping": {"ended"},
    "ended": set(),
}
"""The states that follow each one; the drawing at `Attempt` has them too."""


class Attempt:
    """The state of one start.

              start             answers `discover`        stop, retire, kill
        new ─────────▶ starting ───────────────────▶ up ────────────────────▶ stopping
                        │    │                       │                         ▲   │
                        │    └───────── kill ────────┼─────────────────────────┘   │
                        │ cannot be run,             │                             │
                        │ ends at once               │ crashes                     │ ends
                        └────────────────▶ ended ◀───┴─────────────────────────────┘

    Only one that is `up` gets calls. One that ends while it is `stopping` was stopped on purpose.
    """

    def __init__(self) -> None:
        self.state: State = "new"
        self.is_disowned = False
        """Whether its app is uninstalled: what it says could concern a later app of the name."""
        self._decided = anyio.Event()
        """Set once it is up, or has ended without that."""
        self._ended = anyio.Event()

    def become(self, state: State) -> None:
        """Change the state. A change that is not drawn has come too late, and is ignored."""
        if state not in NEXT[self.state]:
            return
        self.state = state
        if state in ("up", "ended"):
            self._decided.set()
        if state == "ended":
            self._ended.set()

    @property
    def is_starting(self) -> bool:
        """Whether it has not answered yet."""
        return self.state in ("new", "starting")

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self.state not in ("new", "ended")

    async def wait_decided(self) -> None:
        """Wait until it is up, or has ended without that."""
        await self._decided.wait()

    async def wait_ended(self) -> None:
        """Wait for its end."""
        await self._ended.wait()
