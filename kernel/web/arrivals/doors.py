"""Through which host a request came: the server's own, or that of an app."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from kernel.contracts import hookspecs
from kernel.contracts.server import HookBus

PORT: Final = re.compile(rb":[0-9]*$")
NAME: Final = re.compile(rb"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")
MAX_REMEMBERED: Final = 256
"""Values of `Host` whose app is remembered; the ones that were used last."""


class Doors:
    """Asks the hook `app_of_host` once for each value of `Host`, and remembers the answers.

    A request costs a look-up in a cache, and nothing where no plugin implements the hook.
    """

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus
        self.forget()

    def forget(self) -> None:
        """Ask again: the configuration has changed."""
        is_implemented = bool(self._bus.implementations(hookspecs.app_of_host))
        self.are_open = is_implemented
        self.find = lru_cache(MAX_REMEMBERED)(self._ask)

    def _ask(self, value: bytes) -> str | None:
        """Return the app of a value of `Host`; None for the server's own, and for no name."""
        name = PORT.sub(b"", value)
        if not NAME.fullmatch(name):
            return None
        host = name.decode("ascii").lower().removesuffix(".")
        answers = self._bus.collect(hookspecs.app_of_host, host=host)
        return answers[0][1] if answers else None
