"""An encoded document."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

Schema = dict[str, Any]
"""A JSON Schema, or another object of an OpenAPI document."""


class Document(msgspec.Struct, frozen=True):
    """Bytes and their entity tag."""

    body: bytes
    tag: str


def document(tree: Schema) -> Document:
    """Encode a document."""
    body = msgspec.json.encode(tree)
    return Document(body, tag_of(body))


def tag_of(body: bytes) -> str:
    """Make a strong entity tag of bytes (RFC 9110, 8.8.3)."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
