"""Roles, assignments and permissions over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from kernel.public import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    IDENTITY,
    Access,
    AppGrant,
    Assignment,
    BadRequest,
    Effective,
    Message,
    NotFound,
    Permission,
    Request,
    Response,
    Role,
    Route,
    Services,
    limits_of,
    reply,
)

from .explain import Explainer
from .grants import CrossAppGrants
from .models import (
    AppAssignment,
    ExplainBody,
    Explained,
    ExplainQuery,
    NewGrant,
    NewRole,
    RoleChanges,
    RoleOfUser,
)
from .service import RbacService, permissions_for

APP: Final = "/api/v1/apps/{app_id}"


class RbacRoutes:
    """The handlers; the provider of ACCESS answers."""

    def __init__(
        self,
        services: Services,
        explainer: Callable[[], Explainer | None],
        service: Callable[[], RbacService | None],
    ) -> None:
        """The two functions return None where another plugin provides ACCESS."""
        self._services = services
        self._service = service
        self._explainer = explainer

    def routes(self) -> list[Route]:
        """Declare every route with the permission it needs."""
        roles = f"{APP}/roles"
        role = f"{roles}/{{role}}"
        permissions = f"{APP}/permissions"
        grants = f"{APP}/grants"
        why = "/api/v1/permissions/explain"
        return [
            Route(
                "GET", roles, self.list_roles, APP_USER, returns=list[Role], app_hosts=True
            ),
            Route("POST", roles, self.create, APP_ADMIN, NewRole, returns=Message),
            Route("PATCH", role, self.update, APP_ADMIN, RoleChanges, returns=Message),
            Route("DELETE", role, self.delete, APP_ADMIN, returns=Message, errors=(400,)),
            Route(
                "GET", f"{roles}/assignments", self.list_assignments, APP_ADMIN,
                returns=list[Assignment],
            ),
            Route("POST", f"{roles}/assign", self.assign, APP_ADMIN, RoleOfUser, returns=Message),
            Route("POST", f"{roles}/revoke", self.revoke, APP_ADMIN, RoleOfUser, returns=Message),
            Route(
                "GET", permissions, self.own_permissions, ANY_USER, returns=Effective,
                workers=True, app_hosts=True, narrowed=True,
            ),
            Route(
                "GET", f"{permissions}/available", self.available, APP_USER,
                returns=list[Permission], app_hosts=True,
            ),
            Route(
                "GET", f"{permissions}/{{user_id}}", self.permissions_of, ANY_USER,
                returns=Effective, errors=(400, 403), narrowed=True,
            ),
            Route(
                "GET", why, self.explain, ANY_USER, returns=Explained, query=ExplainQuery,
                errors=(400, 403, 404),
            ),
            Route("POST", why, self.explain_assumed, ANY_USER, ExplainBody, returns=Explained,
                  errors=(403, 404)),
            Route("GET", "/api/v1/permissions/assignments", self.list_administered, ANY_USER,
                  returns=list[AppAssignment]),
            Route("GET", grants, self.list_grants, APP_ADMIN, returns=list[AppGrant]),
            Route("POST", grants, self.add_grant, CORE_ADMIN, NewGrant, returns=Message),
            Route("DELETE", f"{grants}/{{app}}", self.revoke_grant, CORE_ADMIN, returns=Message),
        ]  # fmt: skip

    @property
    def _access(self) -> Access:
        return self._services.get(ACCESS)

    async def list_roles(self, request: Request) -> Response:
        """List the roles of an app by name."""
        return reply(await self._access.roles(request.path("app_id")))

    async def create(self, request: Request, body: NewRole) -> Response:
        """Create a role."""
        role = Role(**_stored(body))
        await self._access.create_role(request.actor, request.path("app_id"), role)
        return reply({"message": f"role '{body.name}' created"})

    async def update(self, request: Request, body: RoleChanges) -> Response:
        """Change a role; absent members stay as they are."""
        name = request.path("role")
        if body.name not in (UNSET, name):
            raise BadRequest("name: a role cannot be renamed")
        changes = {
            member: value
            for member, value in _stored(body).items()
            if member != "name" and getattr(body, member) is not UNSET
        }
        await self._access.update_role(request.actor, request.path("app_id"), name, changes)
        return reply({"message": f"role '{name}' updated"})

    async def delete(self, request: Request) -> Response:
        """Delete a role, with its assignments and from what other roles inherit."""
        name = request.path("role")
        await self._access.delete_role(request.actor, request.path("app_id"), name)
        return reply({"message": f"role '{name}' deleted"})

    async def list_assignments(self, request: Request) -> Response:
        """List who holds which role."""
        return reply(await self._access.assignments(request.path("app_id")))

    async def list_administered(self, request: Request) -> Response:
        """List who has which role on every app that the caller is admin of, 10,000 at most."""
        service = self._service()
        if service is None:
            raise NotFound("the plugin that decides here lists no assignments of several apps")
        return reply(await service.administered_assignments(request.actor.user_id or ""))

    async def assign(self, request: Request, body: RoleOfUser) -> Response:
        """Give a user a role; twice is once."""
        app_id = request.path("app_id")
        await self._access.assign(request.actor, app_id, _user_of(body), body.role)
        return reply({"message": f"role '{body.role}' assigned"})

    async def revoke(self, request: Request, body: RoleOfUser) -> Response:
        """Take a role from a user; never from the last admin."""
        app_id = request.path("app_id")
        await self._access.revoke(request.actor, app_id, _user_of(body), body.role)
        return reply({"message": f"role '{body.role}' revoked"})

    async def own_permissions(self, request: Request) -> Response:
        """Show the caller's own roles and permissions on an app."""
        user_id = request.actor.user_id or ""
        app_id = request.path("app_id")
        return reply(await self._access.effective(user_id, app_id, **limits_of(request.actor)))

    async def available(self, request: Request) -> Response:
        """List every permission key of an app in declaration order."""
        return reply(await self._access.available(request.path("app_id")))

    async def permissions_of(self, request: Request) -> Response:
        """Show a user's roles and permissions; for that user and for admins."""
        app_id = request.path("app_id")
        user_id = request.path("user_id")
        identity = self._services.get(IDENTITY)
        return reply(await permissions_for(self._access, identity, request.actor, app_id, user_id))

    async def explain(self, request: Request) -> Response:
        """Explain whether a user may do something, and by which roles.

        For the user itself with a role on the app, for its admins, and for core admins.
        """
        try:
            question = msgspec.convert(request.query(), ExplainBody)
        except msgspec.ValidationError as error:
            raise BadRequest(f"the query: {error}") from None
        return await self.explain_assumed(request, question)

    async def explain_assumed(self, request: Request, body: ExplainBody) -> Response:
        """Explain what a user might do with roles and permissions that `assume` adds."""
        explainer = self._explainer()
        if explainer is None:
            raise NotFound("the plugin that decides here explains nothing")
        return reply(await explainer.explain(request.actor, body))

    async def list_grants(self, request: Request) -> Response:
        """List what workers of an app may do on other apps on behalf of users."""
        return reply(await self._cross_app.list_grants(request.path("app_id")))

    async def add_grant(self, request: Request, body: NewGrant) -> Response:
        """Let workers of an app use permission keys of another app for users that hold them."""
        grant = AppGrant(body.app, body.permissions)
        await self._cross_app.add(request.actor, request.path("app_id"), grant)
        return reply({"message": f"grant on app '{body.app}' added"})

    async def revoke_grant(self, request: Request) -> Response:
        """Revoke every permission key of another app."""
        target = request.path("app")
        await self._cross_app.revoke(request.actor, request.path("app_id"), target)
        return reply({"message": f"grant on app '{target}' revoked"})

    @property
    def _cross_app(self) -> CrossAppGrants:
        service = self._service()
        if service is None:
            raise NotFound("the plugin that decides here has no grants")
        return service.cross_app


def _stored(body: NewRole | RoleChanges) -> dict[str, Any]:
    """Return the members of a role as `Role` has them: a demand that is not made is absent."""
    return {**msgspec.structs.asdict(body), "second_factor": body.second_factor is True or UNSET}


def _user_of(body: RoleOfUser) -> str:
    for user_id in (body.user_id_camel, body.user_id):
        if user_id is not UNSET:
            return user_id
    raise BadRequest("userId is required")
