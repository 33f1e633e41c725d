"""`[plugins.webhooks]`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class WebhooksConfig(Section, frozen=True, kw_only=True):
    """Where deliveries may go, and how many webhooks there are."""

    allow: tuple[str, ...] = ()
    """Networks that are not public and that deliveries may go to, as `10.2.0.0/16`."""
    hooks: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Webhooks of one app."""
    keep: Annotated[int, Meta(ge=1, le=365)] = 14
    """Days for which a delivery that has ended is listed."""

    def __post_init__(self) -> None:
        for network in self.allow:
            ip_network(network, strict=False)
