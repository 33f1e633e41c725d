"""Provides RECORDS: reads, single writes, and writes of many records."""

from __future__ import annotations

from .writes.batch import Batches


class RecordsService(Batches):
    """Provides RECORDS, with everything of `Collections`."""
