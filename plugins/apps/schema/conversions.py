"""Which types a column can change into, and by which function of the database.

A conversion keeps the whole value or refuses it. A pair that is missing here converts no value, so
such a column changes its type only while it is empty. Text is read as the API reads it (ISO dates,
numbers without leading zeros, JSON), and converts back to the same text.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

from plugins.apps.manifest.types import AS_SQL, SqlType

CONVERSIONS: Final[dict[tuple[SqlType, SqlType], str]] = {
    ("text", "double precision"): "text_to_number",
    ("text", "boolean"): "text_to_boolean",
    ("text", "date"): "text_to_date",
    ("text", "timestamptz"): "text_to_timestamp",
    ("text", "jsonb"): "text_to_json",
    ("text", "uuid"): "text_to_uuid",
    ("text", "text[]"): "text_to_text_array",
    ("double precision", "text"): "number_to_text",
    ("double precision", "boolean"): "number_to_boolean",
    ("double precision", "jsonb"): "number_to_json",
    ("double precision", "double precision[]"): "number_to_number_array",
    ("boolean", "text"): "boolean_to_text",
    ("boolean", "double precision"): "boolean_to_number",
    ("boolean", "jsonb"): "boolean_to_json",
    ("date", "text"): "date_to_text",
    ("date", "timestamptz"): "date_to_timestamp",
    ("date", "jsonb"): "date_to_json",
    ("timestamptz", "text"): "timestamp_to_text",
    ("timestamptz", "date"): "timestamp_to_date",
    ("timestamptz", "jsonb"): "timestamp_to_json",
    ("jsonb", "text"): "json_to_text",
    ("jsonb", "double precision"): "json_to_number",
    ("jsonb", "boolean"): "json_to_boolean",
    ("jsonb", "date"): "json_to_date",
    ("jsonb", "timestamptz"): "json_to_timestamp",
    ("jsonb", "uuid"): "json_to_uuid",
    ("jsonb", "text[]"): "json_to_text_array",
    ("jsonb", "double precision[]"): "json_to_number_array",
    ("uuid", "text"): "uuid_to_text",
    ("uuid", "jsonb"): "uuid_to_json",
    ("text[]", "text"): "text_array_to_text",
    ("text[]", "double precision[]"): "text_array_to_number_array",
    ("text[]", "jsonb"): "text_array_to_json",
    ("double precision[]", "double precision"): "number_array_to_number",
    ("double precision[]", "text[]"): "number_array_to_text_array",
    ("double precision[]", "jsonb"): "number_array_to_json",
}

CERTAIN: Final[dict[tuple[SqlType, SqlType], sql.SQL]] = {
    # A double has every decimal number of 15 digits.
    ("text", "double precision"): sql.SQL(
        r"octet_length({0}) <= 15 and {0} ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?$'"
    ),
    ("text", "boolean"): sql.SQL("lower({0}) in ('true', 'false')"),
    ("text", "date"): sql.SQL(
        "octet_length({0}) = 10 and {0} ~ '^[1-9][0-9]*-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$'"
    ),
    ("text", "uuid"): sql.SQL(
        "{0} like '________-____-____-____-____________'"
        " and {0} ~ '^[0-9a-f]*-[0-9a-f]*-[0-9a-f]*-[0-9a-f]*-[0-9a-f]*$'"
    ),
    ("text", "text[]"): sql.SQL("true"),
}
"""The conditions of values that convert for certain, seen by their form: most values of a column
that converts. To convert one takes ten times as long. Lengths beside a pattern are cheaper than
repetitions within it."""


def converted(column: str, source: str, target: str) -> sql.Composable:
    """Return the expression of a value in its new type, NULL where it does not convert."""
    function = CONVERSIONS.get((source, target))  # type: ignore[arg-type]
    if function is None:
        return sql.SQL("null::{}").format(AS_SQL[target])
    name = sql.Identifier("caudex_apps", function)
    return sql.SQL("{}({})").format(name, sql.Identifier(column))


def refused(column: str, source: str, target: str) -> sql.Composable:
    """Return the condition of rows whose value does not convert. JSON null is no value."""
    here = sql.Identifier(column)
    there = sql.SQL("({} and {} is null)").format(
        uncertain(column, source, target), converted(column, source, target)
    )
    if source == "jsonb":
        return sql.SQL("({} and {} <> 'null'::jsonb)").format(there, here)
    return there


def uncertain(column: str, source: str, target: str) -> sql.Composable:
    """Return the condition of rows that must be converted to know whether they can be."""
    here = sql.Identifier(column)
    certain = CERTAIN.get((source, target))  # type: ignore[arg-type]
    if certain is None:
        return sql.SQL("{} is not null").format(here)
    return sql.SQL("({} is not null and not ({}))").format(here, certain.format(here))
