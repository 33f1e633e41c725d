"""Types of JSON that documents describe by the entity; decoding takes them as they are."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

__all__ = [
    "SCHEMA_SHAPE", "FieldFilters", "NewRecord", "Record", "RecordChanges", "SortField", "Where",
]  # fmt: skip

SCHEMA_SHAPE: Final = "x-caudex-shape"
"""Marks, in the schema of a type, what depends on the entity: a document of an app puts the fields
there. It does not affect decoding."""


def shape(name: str, description: str) -> msgspec.Meta:
    """Describe a type in a schema; nothing is validated by it."""
    return msgspec.Meta(title=name, description=description, extra_json_schema={SCHEMA_SHAPE: name})


Record = Annotated[
    dict[str, Any],
    shape("Record", "A record: `id`, the declared fields in order, `created_at`, `updated_at`."),
]
NewRecord = Annotated[
    dict[str, Any],
    shape("NewRecord", "Values by field name; what is left out is the field's default, or null."),
]
RecordChanges = Annotated[
    dict[str, Any],
    shape("RecordChanges", "New values by field name; what is left out stays as it is."),
]
Where = Annotated[
    dict[str, Any],
    shape("Where", "A value or operators by field name, and `$and`, `$or`, `$not` around them."),
]
SortField = Annotated[str, shape("SortField", "Name of a field to sort by.")]
FieldFilters = Annotated[
    dict[str, str], shape("FieldFilters", "Any field by its name: records with this very value.")
]
