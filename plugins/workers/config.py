"""`[plugins.workers]`. Times are in seconds, sizes in MB (2^20 bytes)."""

from __future__ import annotations

import pwd
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from kernel.public import BootError, Section

Limit = Annotated[float, Meta(ge=0.1, le=86_400)]
Wait = Annotated[float, Meta(ge=0, le=3600)]


class WorkersConfig(Section, frozen=True, kw_only=True):
    """See the README for what each key means."""

    sandbox: Literal["auto", "required", "off"] = "auto"
    # Below 1000 packages take accounts for themselves, any day; the last number of all means none.
    uid_base: Annotated[int, Meta(ge=1000, le=4_000_000_000)] = 200_000
    uid_count: Annotated[int, Meta(ge=1, le=1_000_000)] = 50_000
    memory_mb: Annotated[int, Meta(ge=16, le=16_777_216)] = 2048
    files: Annotated[int, Meta(ge=16, le=1_048_576)] = 1024
    processes: Annotated[int, Meta(ge=1, le=4_194_304)] = 512
    file_mb: Annotated[int, Meta(ge=1, le=16_777_216)] = 1024
    readable: Sequence[str] = ()
    cgroup: str = "auto"
    cpus: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    oom_score_adj: Annotated[int, Meta(ge=0, le=1000)] = 500
    nice: Annotated[int, Meta(ge=0, le=19)] = 5
    max_disk_mb: Annotated[int, Meta(ge=0, le=1_073_741_824)] = 2048

    python: str = ""
    bun: str = ""
    node: str = ""
    install_environment: Mapping[str, str] = {}

    start_timeout: Limit = 30.0
    start_wait: Wait = 2.0
    rpc_timeout: Limit = 30.0
    install_timeout: Limit = 300.0
    shutdown_wait: Wait = 10.0
    term_wait: Wait = 5.0
    backoff: Wait = 2.0

    runtime_url: str = ""

    @property
    def accounts(self) -> range:
        """The accounts of apps."""
        return range(self.uid_base, self.uid_base + self.uid_count)

    def check_accounts(self, data_dir: Path) -> None:
        """Check that no app gets an account that is in use on this machine. Raises BootError."""
        used = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
        for folder in (data_dir, data_dir / "postgres"):
            with suppress(OSError):  # a directory service need not list every account
                used.setdefault(folder.stat().st_uid, f"the owner of {folder}")
        last = self.uid_base + self.uid_count - 1
        for uid, name in sorted(used.items()):
            if self.uid_base <= uid <= last:
                raise BootError(
                    "[plugins.workers] uid_base",
                    f"of {self.uid_base} to {last}, which apps run under, {uid} is {name}",
                    "choose uid_base and uid_count so that no account in use is among them",
                )
