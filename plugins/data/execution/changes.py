"""What a write does to a record that exists."""

from __future__ import annotations

import msgspec

from plugins.data.values.rows import Row

from .tags import NO_IF_MATCH, IfMatch


class RecordChange(msgspec.Struct, frozen=True):
    """The new values of a record, if it meets a condition; a delete has no values."""

    record_id: str
    row: Row = {}
    condition: IfMatch = NO_IF_MATCH
