"""`[plugins.pipeline]`."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from kernel.public import Section

LEAST_WRITES: Final = 3
"""For one of several processes."""
Connections = Annotated[int, Meta(ge=1, le=32)]


class PipelineConfig(Section, frozen=True, kw_only=True):
    """Connections beside those of the pool."""

    reads: Connections = 2
    filters: Connections = 2
    writes: Connections = 3
    prepared: Annotated[int, Meta(ge=10, le=10_000)] = 256

    def share(self, group: str, processes: int) -> int:
        """Return how many connections of a group one of the processes of a machine has.

        Few are enough for reads: a statement costs least where a connection has many of them under
        way. A write, or a few that share a commit, has a connection to itself.
        """
        alone: int = getattr(self, group)
        least = min(alone, LEAST_WRITES) if group == "writes" else 1
        return max(least, -(-alone // processes))
