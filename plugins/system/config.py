"""`[plugins.system]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class SystemConfig(Section, frozen=True, kw_only=True):
    """What the server watches of its plugins."""

    safe: bool = False
    """Print at the start which plugins are broken; set by `caudex serve --safe`."""
    blocked_timeout: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Seconds of code that blocks the event loop after which a process of several ends; 0 never.
    """
    table_writes: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000
    """Rows a second in its tables beyond which log and health name a plugin; 0 names none."""
