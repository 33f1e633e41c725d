"""`[plugins.feed]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class FeedConfig(Section, frozen=True, kw_only=True):
    """How many streams a server process has at once: `streams` in all, some of them for one user.

    Beyond that the reply is 503.
    """

    streams: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    streams_per_user: Annotated[int, Meta(ge=1, le=100_000)] = 50
