"""`[plugins.exports]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class ExportsConfig(Section, frozen=True, kw_only=True):
    """What links begin with.

    `url` is as `https://desk.example.com`; without it, the address that a request was sent to.
    """

    url: Annotated[str, Meta(pattern=r"^(https?://[^/?#@]+)?$")] = ""
