"""Provides RECORDS: reads, single writes, writes of many records, exchange."""

from __future__ import annotations

from .exchange.imports import Imports


class RecordsService(Imports):
    """Provides RECORDS, with everything of `Collections`."""
