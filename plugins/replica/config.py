"""`[plugins.replica]`. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class ReplicaConfig(Section, frozen=True, kw_only=True):
    """See the README for what each key means."""

    max_lag: Annotated[float, Meta(ge=1, le=3600)] = 10.0
