"""Lines on their way into the database."""

from __future__ import annotations

import msgspec

from kernel.public import LogLevel


class NewLine(msgspec.Struct, frozen=True):
    """A line as it was written; `ts` is RFC 3339 text in UTC."""

    app_id: str
    level: LogLevel
    message: str
    ts: str
