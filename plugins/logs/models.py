"""Lines on their way into the database, and what a reader asks for."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kernel.public import LogLevel

MAX_TAIL: Final = 1000


class NewLine(msgspec.Struct, frozen=True):
    """A line as it was written; `ts` is RFC 3339 text in UTC.

    `request_id` is the request or job that its handler served, where that is known.
    """

    app_id: str
    level: LogLevel
    message: str
    ts: str
    request_id: str | None = None


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/logs."""

    tail: Annotated[
        int, Meta(ge=0, description=f"how many old lines come first, at most {MAX_TAIL}")
    ] = 100
    since: (
        Annotated[
            str, Meta(description="RFC 3339: the lines of this time and later come, without a tail")
        ]
        | None
    ) = None
