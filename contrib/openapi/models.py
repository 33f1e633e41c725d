"""An encoded document."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

Schema = dict[str, Any]
"""A JSON Schema, or another object of an OpenAPI document."""


def closed(properties: Schema, **members: Any) -> Schema:
    """Describe an object that has no other members than `properties`."""
    return {"type": "object", **members, "properties": properties, "additionalProperties": False}


class Document(msgspec.Struct, frozen=True):
    """Bytes with their media type and strong entity tag (RFC 9110, 8.8.3)."""

    body: bytes
    tag: str
    media_type: str = "application/json"


def document(tree: Schema) -> Document:
    """Encode a document."""
    body = msgspec.json.encode(tree)
    return Document(body, tag_of(body))


def tag_of(body: bytes) -> str:
    """Make the entity tag of bytes."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
