"""Describes the machine of a run, without a host name or a user name."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import msgspec

from .load import WRK


class Machine(msgspec.Struct, frozen=True):
    """Goes into the results and above the table."""

    cores: int
    processor: str
    memory_gb: int
    system: str
    python: str
    postgres: str
    load_generator: str

    def __str__(self) -> str:
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gb} GB, {self.system}, "
            f"Python {self.python}, PostgreSQL {self.postgres}, load by {self.load_generator}"
        )


def machine(postgres: str) -> Machine:
    """This machine; `postgres` is what the server says of its version."""
    return Machine(
        cores=os.cpu_count() or 1,
        processor=_first(Path("/proc/cpuinfo"), r"model name\s*: (.+)") or platform.machine(),
        memory_gb=round(int(_first(Path("/proc/meminfo"), r"MemTotal:\s+(\d+)") or 0) / 2**20),
        system=platform.system(),
        python=platform.python_version(),
        postgres=postgres,
        load_generator="wrk" if WRK else "the benchmark's own client",
    )


def _first(file: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, file.read_text())
    except OSError:
        return ""
    return " ".join(found[1].split()) if found else ""
