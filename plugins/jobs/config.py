"""`[plugins.jobs]`. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section

Seconds = Annotated[float, Meta(ge=0.1, le=3600)]


class JobsConfig(Section, frozen=True, kw_only=True):
    """See the README for what each key means."""

    concurrency: Annotated[int, Meta(ge=1, le=64)] = 10
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 14
    poll_interval: Seconds = 1.0
    lease: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    cancel_grace: Seconds = 10.0
    drain: Annotated[float, Meta(ge=0, le=20)] = 15.0
