"""The ids of accounts and sessions."""

from __future__ import annotations

from kernel.public import BadRequest, NotFound, is_uuid


def check_id(text: str) -> None:
    """Raise BadRequest for a malformed id of an account or a session."""
    if not is_uuid(text):
        raise BadRequest("id: must be a UUID")


def unknown_user(user_id: str) -> NotFound:
    """Return the error for an id that no account has."""
    return NotFound(f"user '{user_id[:64]}' not found")
