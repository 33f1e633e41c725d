"""The `[plugins.postgres]` table of the configuration file."""

from typing import Annotated

from msgspec import Meta, field

from kernel.public import Section

from .settings import Setting


class PostgresConfig(Section, frozen=True, kw_only=True):
    """How the embedded server runs; ignored when a database url is configured.

    `settings` are further PostgreSQL parameters by name, as in postgresql.conf; they win over the
    two memory and connection figures. `account` is for root, `bin_dir` replaces the search for the
    programs; `ephemeral` trades all durability for speed, for tests only.
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 5480
    max_connections: Annotated[int, Meta(ge=10, le=262_143)] = 200
    shared_buffers: str = "128MB"
    settings: dict[str, Setting] = field(default_factory=dict[str, Setting])
    account: str = ""
    bin_dir: str = ""
    ephemeral: bool = False
