"""`[plugins.app_logins]`. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class AppLoginsConfig(Section, frozen=True, kw_only=True):
    """See the README for what each key means."""

    address: str = ""
    connections: Annotated[int, Meta(ge=1, le=10_000)] = 10
    transaction_timeout: Annotated[float, Meta(ge=0.1, le=86_400)] = 300.0
    memory_mb: Annotated[int, Meta(ge=16, le=1_000_000)] = 512
    temp_files_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    sql_connections: Annotated[int, Meta(ge=1, le=100)] = 4
