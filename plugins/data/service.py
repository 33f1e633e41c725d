"""Provides RECORDS: reads, single writes, writes of many records, exchange, what workers do."""

from __future__ import annotations

from .exchange.operations import Operations


class RecordsService(Operations):
    """Provides RECORDS, with everything of `Collections`."""
