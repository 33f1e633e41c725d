"""Stores settings of users."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kernel.public import Actor, BadRequest, Statements, Transaction

from . import store

KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,160}")
MAX_SETTINGS: Final = 1000
"""Settings of a user."""
MAX_SIZE: Final = 16_000
"""Bytes of JSON of one value."""


class Preferences:
    """Settings of users, in the database: they follow a user to another browser."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def settings(self, actor: Actor) -> bytes:
        """Return the caller's settings as a JSON object."""
        return await store.read_settings(self._statements, actor.user_id or "")

    async def change_settings(self, actor: Actor, changes: Mapping[str, Any]) -> None:
        """Set settings of the caller; null removes one. Raises BadRequest."""
        for key, value in changes.items():
            if not KEY.fullmatch(key):
                raise BadRequest(f"{key[:160]!r} is no name of a setting")
            _check_size(key, value)

        async def work(tx: Transaction) -> None:
            count = await store.change_settings(tx, actor.user_id or "", changes)
            if count > MAX_SETTINGS:
                raise BadRequest(f"a user has at most {MAX_SETTINGS} settings")

        await self._statements.run(actor, work)


def _check_size(name: str, value: Any) -> None:
    if len(msgspec.json.encode(value)) > MAX_SIZE:
        raise BadRequest(f"{name}: a value has at most {MAX_SIZE} bytes of JSON")
