"""`[plugins.pipeline]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section

Connections = Annotated[int, Meta(ge=1, le=32)]


class PipelineConfig(Section, frozen=True, kw_only=True):
    """Connections beside those of the pool."""

    reads: Connections = 2
    filters: Connections = 3
    writes: Connections = 6
    transactions: Connections = 4
    prepared: Annotated[int, Meta(ge=10, le=10_000)] = 256

    def share(self, group: str, processes: int) -> int:
        """Return how many connections of a group one of the processes of a machine has.

        They share those for reads: a statement costs least where a connection has many of them
        under way. A write has a connection to itself, and costs more where it finds none.
        """
        alone: int = getattr(self, group)
        least = {"writes": alone, "transactions": min(alone, 2)}.get(group, 1)
        return max(least, -(-alone // processes))
