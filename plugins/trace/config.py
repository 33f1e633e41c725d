"""Configuration of the plugin."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kernel.public import Section


class TraceConfig(Section, frozen=True, kw_only=True):
    """`[plugins.trace]`: what is remembered of calls of workers, which have no other row.

    `keep_calls` is how many are kept, the newest ones. `calls_per_second` are remembered of each
    app by a process; the others are left out. 0 remembers none.
    """

    keep_calls: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 1_000_000
    calls_per_second: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
