"""What comes in over HTTP, and what the database returns."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class NewNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /api/v1/sample/notes`."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]


class Author(Struct, frozen=True, kw_only=True):
    """Whose a note is; None where the server wrote it."""

    author: str | None
