"""What is deleted when its time is over."""

from __future__ import annotations

from typing import Final

from kernel.public import Statements

from .invites import store as invite_store
from .keys import store as key_store
from .sessions import store as session_store
from .sign_in.attempts import remove_forgiven

ROWS: Final = 10_000
"""Rows of each table that one run deletes."""


async def remove_expired(statements: Statements) -> None:
    """Delete sessions, networks, failures, keys and invites that are over."""
    await session_store.remove_ended(statements, ROWS)
    await remove_forgiven(statements, ROWS)
    await key_store.remove_expired(statements, ROWS)
    await invite_store.remove_expired(statements, ROWS)
