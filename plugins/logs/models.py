"""Lines on their way into the database, and what a reader asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from sys import getsizeof
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kernel.public import LogLevel, LogLine

MAX_TAIL: Final = 1000
LINE_COST: Final = 300
"""Bytes that a line takes in memory beside its message."""


class NewLine(msgspec.Struct, frozen=True):
    """A line as it was written; `ts` is RFC 3339 text in UTC."""

    app_id: str
    level: LogLevel
    message: str
    ts: str


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/logs."""

    tail: Annotated[
        int, Meta(ge=0, description=f"how many old lines come first, at most {MAX_TAIL}")
    ] = 100


def weight(line: NewLine | LogLine) -> int:
    """Bytes that a line takes in memory, with its UTF-8, which is kept once it was encoded."""
    text = line.message
    return getsizeof(text) + LINE_COST + (0 if text.isascii() else len(text.encode()))


def remark(message: str) -> LogLine:
    """A line of the server's own, without a place in the log: its id is 0."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return LogLine(id=0, level="system", message=message, ts=now)
