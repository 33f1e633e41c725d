"""Schemas of arguments: the names and the rules are those of REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]


def describe(kind: str, description: str, **members: Any) -> Schema:
    """Describe an argument."""
    return {"type": kind, "description": description, **members}


APP: Final = describe("string", "Id of an app, as list_apps shows it.", minLength=1)
ENTITY: Final = describe("string", "Name of an entity, as describe_app shows it.", minLength=1)
RECORD: Final = describe("string", "Id of a record.", minLength=1)
WHERE: Final = describe(
    "object",
    "Which records: {field: value} or {field: {operator: value}} with $eq, $ne, $gt, $gte, $lt, "
    "$lte, $in, $nin, $like, $ilike, $isNull, $contains; $and, $or and $not around them; "
    "{link: {$has: {…}}} for linked records.",
)
SEARCH: Final = describe("string", "Words to search for.", minLength=1)
ORDER: Final = describe("string", "Direction of the order.", enum=["asc", "desc"])
OFFSET: Final = describe("integer", "How many to leave out first.", minimum=0)
DRY_RUN: Final = describe("boolean", "True: check everything and change nothing.")
NAMES: Final = {"type": "string"}


def limit(default: int, maximum: int, what: str) -> Schema:
    """Describe a limit."""
    return describe("integer", f"How many {what} at most.", minimum=1, maximum=maximum,
                    default=default)  # fmt: skip


OPERATION: Final[Schema] = {
    "type": "object",
    "required": ["op", "entity"],
    "additionalProperties": False,
    "properties": {
        "op": {"type": "string", "enum": ["create", "update", "upsert", "delete"]},
        "entity": ENTITY,
        "id": {"description": "Id of the record, or {$ref: name.id} of an earlier operation."},
        "data": describe("object", "Values by field name; those left out stay, or get a default."),
        "as": describe("string", "A name by which later operations refer to this record."),
        "ifMatch": describe("string", "Entity tag of the record: refused if it has changed."),
        "on": describe("string", "For upsert: the fields of a unique key."),
        "then": describe(
            "string", "For upsert, of a record that exists.", enum=["update", "ignore", "fail"]
        ),
    },
}
