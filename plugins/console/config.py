"""`[plugins.console]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section

COLOUR = Meta(pattern=r"^(#[0-9a-fA-F]{6})?$", description="a colour as #2f6fde")


class ConsoleConfig(Section, frozen=True, kw_only=True):
    """What the console shows of this server, so that production does not look like a test system.

    `safe` shows the red bar of `caudex serve --safe`, which sets it.
    """

    name: Annotated[str, Meta(max_length=60)] = "Caudex"
    """Name of this server, shown in the console."""
    colour: Annotated[str, COLOUR] = ""
    """Colour of the console's mark and edge, as `#c02020`; by default the accent colour."""
    safe: bool = False
    """Show the red bar of safe mode; set by `caudex serve --safe`."""
    sources: bool = False
    """Send scripts and styles as they are written, so that errors of a browser name their lines."""
