"""Provides RECORDS: reads, single writes, and writes of many records."""

from __future__ import annotations

from .writes.records import RecordWrites


class RecordsService(RecordWrites):
    """Provides RECORDS, with everything of `Collections`."""
