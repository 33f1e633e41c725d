"""Numbers about a subsystem, for monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `name` is `caudex_<plugin>_<what>`, with its unit at the end (`_seconds`).

    A counter only grows while the process runs. `shared` numbers are the whole deployment's, from
    the database: every process measures the same.
    """

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = {}
    kind: Literal["gauge", "counter"] = "gauge"
    shared: bool = False
