"""Configuration of the plugin."""

from __future__ import annotations

from typing import Annotated

from caudex import Section
from msgspec import Meta


class NotesConfig(Section, frozen=True, kw_only=True):
    """`[plugins.sample]`."""

    most: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many notes a reply has at most."""
    welcome: bool = True
    """Write a note for each new app."""
