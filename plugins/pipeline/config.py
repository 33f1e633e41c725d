"""`[plugins.pipeline]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section

Connections = Annotated[int, Meta(ge=1, le=32)]


class PipelineConfig(Section, frozen=True, kw_only=True):
    """Connections of each server process, beside those of the pool."""

    reads: Connections = 2
    filters: Connections = 3
    writes: Connections = 6
    transactions: Connections = 4
    prepared: Annotated[int, Meta(ge=10, le=10_000)] = 256
