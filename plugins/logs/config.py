"""`[plugins.logs]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class LogsConfig(Section, frozen=True, kw_only=True):
    """How long lines are kept, and how many readers an app may have at once.

    `keep_days = 0` keeps them for ever, `keep_lines = 0` however many there are, `keep_bytes = 0`
    however much room they take.
    `lines_per_second` and `bytes_per_second` bound what one app may write, for longer than a
    moment, on one server process; what is more is counted in a `system` line.
    """

    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 7
    keep_lines: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 100_000
    keep_bytes: Annotated[int, Meta(ge=0, le=10**15)] = 1_000_000_000
    readers_per_app: Annotated[int, Meta(ge=1, le=10_000)] = 30
    lines_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 2000
    bytes_per_second: Annotated[int, Meta(ge=1, le=10**9)] = 2_000_000
