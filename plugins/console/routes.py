"""Serves the files of the console, and its settings and views."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from kernel.public import (
    ACCESS,
    ANY_USER,
    APPS,
    CORE_ADMIN,
    PUBLIC,
    REGISTRY,
    SESSIONS,
    BadRequest,
    Message,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    Sessions,
    Unauthenticated,
    preferred_type,
    reply,
)

from . import cookies
from .assets.files import WEB, Files, fingerprint
from .models import (
    CloseSession,
    Features,
    Kept,
    Manual,
    NewView,
    OpenedSession,
    OpenSession,
    ShownPage,
    View,
    ViewContent,
    ViewQuery,
)
from .pages import Pages, manual
from .saved.keeper import ViewKeeper
from .service import Preferences

API: Final = "/api/v1/console"
SAME: Final = {"description": "The caller has it already, by `If-None-Match`."}
LED: Final[dict[str, Any]] = {"responses": {"307": {"description": "Leads to `/console/`."}}}


def _file(media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {"responses": {"200": {"description": "The file.", "content": content}, "304": SAME}}


class ConsoleRoutes:
    """Decodes requests, calls the service, encodes replies."""

    pages: Pages
    preferences: Preferences
    views: ViewKeeper
    instance: str

    def __init__(self, services: Services, fill: dict[str, str], *, is_lean: bool) -> None:
        """`fill` are the values of the placeholders in `index.html`; for `is_lean` see `Files`."""
        self._services = services
        self._files = Files(WEB, {**fill, "build": fingerprint()}, is_lean)
        self._ext: dict[str, Files] = {}

    def routes(self) -> Sequence[Route]:
        """Declare the routes. Files are public, and say nothing about this server but its name."""
        session = f"{API}/session"
        views = f"{API}/views"
        view = f"{API}/views/{{id}}"
        roots = [
            Route("GET", path, self.root, PUBLIC, errors=(404,), openapi=LED)
            for path in ("/", "/console")
        ]
        page = Route("GET", "/console/", self.index, PUBLIC, openapi=_file("text/html"))
        files = [
            Route("GET", path, handler, PUBLIC, errors=(404,), openapi=_file("*/*"))
            for path, handler in (
                ("/console/{file}", self.file),
                ("/console/{folder}/{file}", self.file),
                ("/console/{folder}/{inner}/{file}", self.file),
                ("/console/ext/{plugin}/{file}", self.module),
            )
        ]
        return [
            *roots,
            page,
            *files,
            Route("POST", session, self.session, PUBLIC, OpenSession, 64_000, OpenedSession,
                  errors=(401, 403)),
            Route("DELETE", session, self.leave, PUBLIC, CloseSession, 64_000, Message,
                  errors=(403,)),
            Route("GET", f"{API}/settings", self.settings, ANY_USER, returns=dict[str, Any]),
            Route("PATCH", f"{API}/settings", self.keep, ANY_USER, dict[str, Any], 1_000_000,
                  Message),
            Route("GET", views, self.list_views, ANY_USER, returns=list[View], query=ViewQuery,
                  errors=(404,)),
            Route("POST", views, self.save_view, ANY_USER, NewView, 64_000, Kept, 201,
                  errors=(403, 404)),
            Route("GET", view, self.read_view, ANY_USER, returns=View),
            Route("PUT", view, self.change_view, ANY_USER, ViewContent, 64_000, View,
                  errors=(403, 412)),
            Route("DELETE", view, self.delete_view, ANY_USER, returns=Message, errors=(403,)),
            Route("GET", f"{API}/features", self.features, ANY_USER, returns=Features),
            Route("GET", f"{API}/pages", self.list_pages, ANY_USER, returns=list[ShownPage]),
            *self._manuals(),
        ]  # fmt: skip

    def _manuals(self) -> Sequence[Route]:
        """Without a plugin that provides ACCESS no user is known to be an admin."""
        if not self._services.provider(ACCESS.name):
            return []
        path = f"{API}/manuals/{{plugin}}"
        return [Route("GET", path, self.manual, CORE_ADMIN, returns=Manual)]

    # --- files

    async def root(self, request: Request) -> Response:
        """Lead a browser to the console."""
        accept = request.headers.get("accept", "")
        if preferred_type(accept, ("application/json", "text/html")) != "text/html":
            raise NotFound("there is no such route")
        location = request.public_path("/console/")
        return Response(status_code=307, headers={"location": location, "vary": "Accept"})

    async def index(self, request: Request) -> Response:
        """Show the page of the console."""
        return self._files.reply(request, "index.html")

    async def file(self, request: Request) -> Response:
        """Send a file of the console."""
        parts: dict[str, str] = request.scope["path_params"]
        return self._files.reply(request, "/".join(parts.values()))

    async def module(self, request: Request) -> Response:
        """Send a file of a plugin's page."""
        plugin = request.path("plugin")
        folder = self.pages.folders.get(plugin)
        if folder is None:
            raise NotFound("there is no such file")
        files = self._ext.setdefault(plugin, Files(folder))
        return files.reply(request, request.path("file"))

    # --- the session

    async def session(self, request: Request, body: OpenSession) -> Response:
        """Continue the session of the cookie with its key, or keep that of a refresh token.

        Only pages of the console may ask. The cookie then holds the successor of the token.
        """
        cookies.check_same_origin(request)
        sessions = self._services.find(SESSIONS)
        if sessions is None:
            return reply(OpenedSession(sign_in="external"))
        if body.refresh_token is not None:
            key = cookies.new_key()
            return await self._continued(sessions, request, body.refresh_token, key)
        value = cookies.read(request, self.instance)
        if not value:
            return reply(OpenedSession())
        token = cookies.unseal(value, body.key)
        if token is None:
            return await self._ended(request, value)
        try:
            return await self._continued(sessions, request, token, body.key)
        except Unauthenticated:
            return reply(OpenedSession(), headers=self._cookie(request, ""))

    async def leave(self, request: Request, body: CloseSession) -> Response:
        """Sign out: end the session of the cookie and remove the cookie."""
        cookies.check_same_origin(request)
        token = cookies.unseal(cookies.read(request, self.instance), body.key)
        if token is not None:
            await self._log_out(request, token)
        return reply({"message": "signed out"}, headers=self._cookie(request, ""))

    async def _continued(
        self, sessions: Sessions, request: Request, token: str, key: str
    ) -> Response:
        """Refresh a session. Raises Unauthenticated."""
        refreshed = msgspec.json.decode(await sessions.refresh(token, request.actor))
        following = refreshed.get("refreshToken") or token
        opened = OpenedSession(
            access_token=refreshed["accessToken"], expires_in=refreshed["expiresIn"], key=key
        )
        return reply(opened, headers=self._cookie(request, cookies.seal(following, key)))

    async def _ended(self, request: Request, value: str) -> Response:
        """Remove a cookie that the key does not open.

        Up to version 0.2 the cookie held the refresh token itself. Other ports may have read it, so
        its session ends.
        """
        await self._log_out(request, value)
        return reply(OpenedSession(), headers=self._cookie(request, ""))

    async def _log_out(self, request: Request, token: str) -> None:
        sessions = self._services.find(SESSIONS)
        if sessions is not None:
            with suppress(Unauthenticated):  # it has ended already, or is no token
                await sessions.logout(token, request.actor)

    def _cookie(self, request: Request, value: str) -> dict[str, str]:
        return {"set-cookie": cookies.write(request, self.instance, value)}

    # --- what is kept for users

    async def settings(self, request: Request) -> Response:
        """Show what the console keeps for the caller."""
        return reply(await self.preferences.settings(request.actor))

    async def keep(self, request: Request, body: dict[str, Any]) -> Response:
        """Change settings of the caller; null removes one."""
        await self.preferences.change_settings(request.actor, body)
        return reply({"message": "settings kept"})

    async def list_views(self, request: Request) -> Response:
        """List views: the caller's, those for its roles, and those that the manifest declares.

        Without `entity` they are those of all tables of the app, and its dashboards.
        """
        query = request.query()
        if "app" not in query or not query.keys() <= {"app", "entity"}:
            raise BadRequest("app is required, entity may be added, and nothing else")
        views = await self.views.list_views(request.actor, query["app"], query.get("entity"))
        return reply(views)

    async def read_view(self, request: Request) -> Response:
        """Show a view or a dashboard."""
        view = await self.views.read(request.actor, request.path("id"))
        return reply(view, headers={"etag": f'"{view.version}"'})

    async def save_view(self, request: Request, body: NewView) -> Response:
        """Save a view of a table; without `entity` a dashboard of the app."""
        return reply({"id": await self.views.save(request.actor, body)}, 201)

    async def change_view(self, request: Request, body: ViewContent) -> Response:
        """Change a view that has the tag in `If-Match`; another one is a 412 that shows it."""
        if_match = request.headers.get("if-match")
        view = await self.views.change(request.actor, request.path("id"), body, if_match)
        return reply(view, headers={"etag": f'"{view.version}"'})

    async def delete_view(self, request: Request) -> Response:
        """Delete a view: one of the caller, or for a role where the caller is an admin."""
        view_id = request.path("id")
        await self.views.delete(request.actor, view_id)
        return reply({"message": f"view '{view_id}' deleted"})

    # --- pages of plugins

    async def features(self, request: Request) -> Response:
        """List the plugins that are on."""
        plugins = self._services.get(REGISTRY).plugins
        return reply(Features([info.name for info in plugins if info.state == "on"]))

    async def list_pages(self, request: Request) -> Response:
        """List the pages of plugins and of apps that the caller may see."""
        access = self._services.find(ACCESS)
        apps = self._services.find(APPS)
        return reply(await self.pages.list_visible(request.actor, access, apps))

    async def manual(self, request: Request) -> Response:
        """Show the README of a plugin, Markdown text."""
        return reply(manual(self._services, request.path("plugin")))
