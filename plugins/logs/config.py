"""`[plugins.logs]`."""

from __future__ import annotations

from kernel.public import Section


class LogsConfig(Section, frozen=True, kw_only=True):
    """How long lines are kept, and how many readers an app may have at once.

    `lines_per_second` bounds what one app may write, for longer than a moment, on one server
    process; what is more is counted in a `system` line.
    """

    keep_days: int = 7
    keep_lines: int = 100_000
    readers_per_app: int = 30
    lines_per_second: int = 2000
