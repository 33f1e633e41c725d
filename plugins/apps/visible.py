"""Apps as they are for a caller: entities without a right, and unreadable fields, do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from kernel.public import ANY_USER, Access, Action, Actor, App, Apps, Forbidden, Grant, entity

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


class VisibleApps:
    """Describes apps by the grants of the caller."""

    def __init__(self, apps: Apps, access: Access) -> None:
        self._apps = apps
        self._access = access

    async def app(self, actor: Actor, app_id: str) -> App:
        """Return an app with what exists for the caller. Raises NotFound."""
        app = await self._apps.app(app_id)
        hidden = dict[str, frozenset[str]]()
        for name in app.entities:
            grants = await self._grants(actor, app_id, name)
            if grants:
                hidden_fields = [grant.hidden for grant in grants]
                hidden[name] = frozenset[str]().union(*hidden_fields)
        return app.narrow(hidden)

    async def all(self, actor: Actor) -> Sequence[App]:
        """Return every app by name, without those that the limits of the caller take away.

        On the host of an app there is no other one.
        """
        apps = await self._apps.all()
        if actor.door is not None:
            apps = [app for app in apps if app.id == actor.door]
        if actor.limits is None or not actor.limits.narrow:
            return apps
        return [app for app in apps if await self._is_within(actor, app.id)]

    async def _is_within(self, actor: Actor, app_id: str) -> bool:
        try:
            await self._access.authorize(actor, ANY_USER, {"app_id": app_id})
        except Forbidden:
            return False
        return True

    async def _grants(self, actor: Actor, app_id: str, name: str) -> list[Grant]:
        """Return what the caller may do with the records of an entity."""
        path = {"app_id": app_id, "entity": name}
        grants = list[Grant]()
        for action in ACTIONS:
            try:
                grants.append(await self._access.authorize(actor, entity(action), path))
            except Forbidden:
                continue
        return grants
