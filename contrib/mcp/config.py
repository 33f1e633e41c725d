"""`[plugins.mcp]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class McpConfig(Section, frozen=True, kw_only=True):
    """Whether agents may write, and how many requests a key or a user has in a minute."""

    write: bool = True
    rate: Annotated[int, Meta(ge=1, le=100_000)] = 120
