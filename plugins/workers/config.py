"""`[plugins.workers]`. Times are in seconds, sizes in MB (2^20 bytes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from kernel.public import Section


class WorkersConfig(Section, frozen=True, kw_only=True):
    """See the README for what each key means."""

    sandbox: Literal["auto", "required", "off"] = "auto"
    uid_base: int = 200_000
    uid_count: int = 50_000
    memory_mb: int = 2048
    files: int = 1024
    processes: int = 512
    file_mb: int = 1024
    readable: Sequence[str] = ()

    python: str = ""
    bun: str = ""
    node: str = ""
    install_environment: Mapping[str, str] = {}

    start_timeout: float = 30.0
    rpc_timeout: float = 30.0
    install_timeout: float = 300.0
    shutdown_wait: float = 10.0
    term_wait: float = 5.0
    backoff: float = 2.0

    runtime_url: str = ""
    database_address: str = ""
    database_connections: int = 10
