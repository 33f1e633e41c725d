"""Measurements on their way from one server process to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram", "info"]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number; the name has the ending that its kind of family gives it."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """Every sample of one name."""

    name: str
    help: str
    kind: Kind
    samples: list[Sample]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a server process measured, and when (seconds since 1970)."""

    process: str
    at: float
    families: list[Family]
