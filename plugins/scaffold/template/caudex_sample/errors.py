"""What the rules refuse."""

from __future__ import annotations

from caudex import Forbidden, NotFound


class NoteNotFound(NotFound):
    """There is no such note."""


class NotYours(Forbidden):
    """The note belongs to another user."""
