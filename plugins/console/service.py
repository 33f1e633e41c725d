"""Stores settings and saved views of users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    Forbidden,
    NotFound,
    Statements,
    Transaction,
    is_uuid,
    limits_of,
)

from . import store
from .models import NewView, View

KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,160}")
MAX_SETTINGS: Final = 1000
"""Settings of a user, and saved views."""
MAX_SIZE: Final = 16_000
"""Bytes of JSON of one value."""


class Preferences:
    """Settings and views of users, in the database: they follow a user to another browser."""

    def __init__(self, statements: Statements, access: Access | None) -> None:
        self._statements = statements
        self._access = access

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

    async def views(self, actor: Actor, app_id: str, entity: str) -> Sequence[View]:
        """Return the caller's views of a table and those of the caller's roles on the app."""
        user_id = actor.user_id or ""
        roles: list[str] = []
        if self._access is not None:
            rights = await self._access.effective(user_id, app_id, **limits_of(actor))
            roles = rights.roles
        return await store.read_views(self._statements, app_id, entity, user_id, roles)

    async def save_view(self, actor: Actor, view: NewView) -> str:
        """Save a view and return its id. Raises Forbidden for a role where the caller is no admin
        of the app; BadRequest."""
        _check_size("state", view.state)
        user_id = actor.user_id or ""
        if self._access is not None:
            await self._access.effective(user_id, view.app)  # NotFound for an unknown app
            is_admin = await self._access.is_app_admin(user_id, view.app, **limits_of(actor))
            if view.role is not None and not is_admin:
                raise Forbidden("only admins of the app may save a view for a role")

        async def work(tx: Transaction) -> str | None:
            return await store.save_view(tx, user_id, view, MAX_SETTINGS)

        view_id = await self._statements.run(actor, work)
        if view_id is None:
            raise BadRequest(f"a user has at most {MAX_SETTINGS} views")
        return view_id

    async def delete_view(self, actor: Actor, view_id: str) -> None:
        """Delete one of the caller's views. Raises NotFound."""
        user_id = actor.user_id or ""
        was_there = False
        if is_uuid(view_id):
            was_there = await self._statements.run(
                actor, lambda tx: store.delete_view(tx, user_id, view_id)
            )
        if not was_there:
            raise NotFound(f"view '{view_id}' not found")


def _check_size(name: str, value: Any) -> None:
    if len(msgspec.json.encode(value)) > MAX_SIZE:
        raise BadRequest(f"{name}: a value has at most {MAX_SIZE} bytes of JSON")
