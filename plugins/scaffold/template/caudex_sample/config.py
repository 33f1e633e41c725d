"""Configuration of the plugin."""

from __future__ import annotations

from typing import Annotated

from caudex import Section
from msgspec import Meta


class NotesConfig(Section, frozen=True, kw_only=True):
    """`[plugins.sample]`."""

    most: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many notes a reply has at most."""
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    """After how many days a note is removed; 0 keeps notes for ever."""
    welcome: bool = True
    """Write a note for each new app."""
