"""Signals of commands and of server processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any


@cache
def ending() -> Sequence[int]:
    """Return the signals that end a server. The end of a terminal sends SIGHUP; without one that is
    a request to read the configuration again."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return signal.SIGTERM, signal.SIGINT
    return signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def handle(numbers: Iterable[int], handler: Any) -> dict[int, Any]:
    """Handle signals, except those that this process was started to ignore, as by nohup. Returns
    the former handlers."""
    active = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in active}
