"""What the OpenAPI document says about routes beyond their types: headers, files, other replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kernel.public import SCHEMA_SHAPE

Members = Mapping[str, Any]


def _header(name: str, description: str, **limits: Any) -> Members:
    return {
        "name": name, "in": "header", "required": False, "description": description,
        "schema": {"type": "string", **limits},
    }  # fmt: skip


_FILES: Final[Members] = {
    "text/csv": {"schema": {"type": "string"}},
    "application/x-ndjson": {"schema": {"type": "string"}},
}
_KEY: Final = _header(
    "Idempotency-Key",
    "The request acts once, however often it is sent within 24 hours.",
    minLength=1,
    maxLength=255,
    pattern="^[!-~]+$",
)
_IF_MATCH: Final = _header("If-Match", "Entity tags: 412 where the record has none of them.")
_IF_NONE_MATCH: Final = _header(
    "If-None-Match", "Entity tags: 304 where the record has one of them; not with `expand`."
)
_ETAG: Final[Members] = {
    "headers": {
        "ETag": {
            "description": "The version of the record, for callers that may read it.",
            "schema": {"type": "string"},
        }
    }
}
_BULK_REPLY: Final[Members] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["result", "record"],
                "properties": {
                    "result": {"type": "string", "enum": ["created", "updated", "ignored"]},
                    "record": {SCHEMA_SHAPE: "Record"},
                },
            },
        }
    },
}

_COUNT: Final[Members] = {
    "Content-Range": {
        "description": "With `Prefer: count=exact`: the page among all records, `items 0-24/319`.",
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "With `Prefer: count=exact`: the number of all records.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_PREFER: Final = _header("Prefer", "`count=exact` counts all records in headers of the reply.")

QUERY_DOCS: Final[Members] = {"responses": {"200": {"content": _FILES}}}
LIST_DOCS: Final[Members] = {
    "parameters": [_PREFER],
    "responses": {"200": {"content": _FILES, "headers": _COUNT}},
}
CREATE_DOCS: Final[Members] = {"parameters": [_KEY], "responses": {"201": _ETAG}}
RECORD_DOCS: Final[Members] = {
    "parameters": [_IF_NONE_MATCH],
    "responses": {"200": _ETAG, "304": {"description": "Not Modified", **_ETAG}},
}
UPDATE_DOCS: Final[Members] = {"parameters": [_IF_MATCH], "responses": {"200": _ETAG}}
DELETE_DOCS: Final[Members] = {"parameters": [_IF_MATCH]}
WRITE_DOCS: Final[Members] = {"parameters": [_KEY]}
BULK_DOCS: Final[Members] = {
    "parameters": [_KEY],
    "responses": {
        "200": {
            "description": "With `on`: what became of each row.",
            "content": {"application/json": {"schema": _BULK_REPLY}},
        }
    },
}
IMPORT_DOCS: Final[Members] = {
    "parameters": [_KEY],
    "requestBody": {
        "required": True,
        "content": {
            **_FILES,
            "text/tab-separated-values": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    },
}
