"""`[plugins.cron]`. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class CronConfig(Section, frozen=True, kw_only=True):
    """How late a run may start, and how much is kept of it."""

    catch_up: Annotated[int, Meta(ge=60, le=172_800)] = 86_400
    keep_runs: Annotated[int, Meta(ge=1, le=10_000)] = 100
    max_waiting: Annotated[int, Meta(ge=1, le=1000)] = 10
    poll_interval: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
