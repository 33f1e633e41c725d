"""`[plugins.metrics]`. Times are in seconds."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from kernel.public import Section

TOKEN: Final = Meta(
    pattern=r"^(|[!-~]{16,1000})$",
    description="16 characters or more, at most 1000, of ASCII and without spaces",
)


class MetricsConfig(Section, frozen=True, kw_only=True):
    """Who may read `/metrics`, and how fresh it is.

    `token` is the bearer token of the scraper, 16 characters or more; without it only core admins
    may read.
    """

    token: Annotated[str, TOKEN] = ""
    every: Annotated[float, Meta(ge=0.1, le=300)] = 5.0
