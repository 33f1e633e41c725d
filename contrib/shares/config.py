"""`[plugins.shares]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class SharesConfig(Section, frozen=True, kw_only=True):
    """What addresses of shares begin with, how long they live, and how often they are read.

    `url` is as `https://desk.example.com`; without it, the address that a request was sent to.
    A share ends after `days` at the latest. `rate` is for each share and minute; a client may send
    five times as many for all shares together. `most` is the number of shares of a user.
    """

    url: Annotated[str, Meta(pattern=r"^(https?://[^/?#@]+)?$")] = ""
    days: Annotated[int, Meta(ge=1, le=3650)] = 90
    rate: Annotated[int, Meta(ge=1, le=100_000)] = 120
    most: Annotated[int, Meta(ge=1, le=10_000)] = 100
