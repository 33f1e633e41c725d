"""Ids of jobs: UUID version 7 (RFC 9562), so that new rows stand side by side in the index."""

from __future__ import annotations

import os
import re
import time
import uuid
from typing import Final

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def new_id() -> str:
    """Make an id; those of one process grow (method 3 of RFC 9562, 6.2: a finer clock)."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fine = rest * 4096 // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | fine << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2))


def is_id(text: str) -> bool:
    """Whether a text can be the id of a job."""
    return _UUID.fullmatch(text) is not None
