"""Replaces accounts and roles, so that the audit plugin is tested alone.

The header `x-user` names the caller, an admin of the apps in `ADMINS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from kernel.public import (
    ACCESS,
    Access,
    Actor,
    Grant,
    Needs,
    Plugin,
    Provider,
    Request,
    hookimpl,
    provide,
)

ROOT = "00000000-0000-4000-8000-000000000001"
CLERK = "00000000-0000-4000-8000-000000000002"
ADMINS = {ROOT: {"core", "crm", "hr"}, CLERK: {"crm"}}


class StandInAccess:
    async def authorize(self, actor: Actor, needs: Needs, path: Mapping[str, str]) -> Grant:
        return Grant()

    async def is_core_admin(self, user_id: str | None) -> bool:
        return await self.is_app_admin(user_id, "core")

    async def is_app_admin(self, user_id: str | None, app_id: str) -> bool:
        return app_id in ADMINS.get(user_id or "", set())


class StandInPlugin(Plugin):
    name = "stand_in"

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(ACCESS, lambda _: cast("Access", StandInAccess()))]

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        user: Any = request.headers.get("x-user")
        return Actor(user_id=user, request_id=request.request_id) if user else None
