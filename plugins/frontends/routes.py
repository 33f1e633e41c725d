"""Frontends over HTTP: deploys and versions, and the way from the server's own host to an app's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from kernel.public import (
    APP_ADMIN,
    CORE_ADMIN,
    FORM_FRAME,
    MAX_BODY,
    PUBLIC,
    Forbidden,
    Message,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    read_pieces,
    reply,
)

from .hosts import Hosts
from .models import Deployed, RollBack, ShownVersion
from .service import SERVICE, FrontendsService
from .serving.directory import DIRECTORY, Frontend
from .serving.door import DOOR, AppDoor
from .uploads import receive_archive

APP: Final = "/api/v1/apps/{app_id}/frontend"
UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A gzipped tar of a built site: index.html at its top or in one folder.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["archive"],
                    "properties": {"archive": {"type": "string", "format": "binary"}},
                },
                "encoding": {"archive": {"contentType": "application/gzip"}},
            },
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The body of a deploy; it is streamed, so no type describes it."""
LED: Final[dict[str, Any]] = {
    "responses": {"307": {"description": "Leads to the host of the app, with path and query."}}
}
FILE: Final[dict[str, Any]] = {
    "responses": {
        "200": {"description": "The file.", "content": {"*/*": {"schema": {"type": "string"}}}}
    }
}


class FrontendsRoutes:
    """The handlers."""

    def __init__(self, services: Services, hosts: Hosts) -> None:
        self._services = services
        self._hosts = hosts

    @cached_property
    def _service(self) -> FrontendsService:
        return self._services.get(SERVICE)

    def routes(self) -> Sequence[Route]:
        """Declare them.

        Where apps share a host with the console, only core admins put code there.
        """
        deployer = CORE_ADMIN if self._hosts.serve_paths else APP_ADMIN
        openapi = FILE if self._hosts.serve_paths else LED
        handler = self.send_page if self._hosts.serve_paths else self.lead_to_host
        return [
            Route(
                "POST", APP, self.deploy, deployer, None, MAX_BODY + FORM_FRAME, Deployed,
                openapi=UPLOAD,
            ),
            Route("DELETE", APP, self.remove, APP_ADMIN, returns=Message),
            Route("GET", f"{APP}/versions", self.versions, APP_ADMIN, returns=list[ShownVersion]),
            Route("POST", f"{APP}/rollback", self.roll_back, deployer, RollBack, returns=Message),
            Route("GET", "/apps/{app_id}", handler, PUBLIC, errors=(404,), openapi=openapi),
            Route(
                "GET", "/apps/{app_id}/{path*}", handler, PUBLIC, errors=(404,), openapi=openapi
            ),
        ]  # fmt: skip

    async def deploy(self, request: Request) -> Response:
        """Deploy a built site as the frontend of an app.

        It is checked whole before anything changes. Every server then sends the new version.
        """
        app_id = request.path("app_id")
        async with self._service.receive_upload(request.actor) as archive:
            body = read_pieces(request, MAX_BODY + FORM_FRAME)
            await receive_archive(request.headers.get("content-type"), body, archive)
            version, ignored = await self._service.deploy(request.actor, app_id, archive)
        return reply(
            Deployed(
                message=f"frontend for '{app_id}' deployed",
                url=self._hosts.locate(app_id, request),
                version=version,
                ignored=ignored,
            )
        )

    async def versions(self, request: Request) -> Response:
        """List the versions of the frontend that are kept, the newest first."""
        return reply(await self._service.read_versions(request.path("app_id")))

    async def roll_back(self, request: Request, body: RollBack) -> Response:
        """Put an earlier version of the frontend into service."""
        app_id = request.path("app_id")
        version = await self._service.roll_back(request.actor, app_id, body.version)
        return reply({"message": f"version {version} of the frontend of '{app_id}' is in service"})

    async def remove(self, request: Request) -> Response:
        """Delete the frontend of an app with all its versions."""
        app_id = request.path("app_id")
        await self._service.remove(request.actor, app_id)
        return reply({"message": f"frontend of '{app_id}' deleted"})

    async def lead_to_host(self, request: Request) -> Response:
        """Lead a browser to the host of an app."""
        app_id = request.path("app_id")
        await self._find(app_id)
        url = self._hosts.locate(app_id, request)
        if url is None:
            remedy = "set [plugins.frontends] domain, or hosts for this app"
            raise NotFound(f"app '{app_id}' has no host here: {remedy}")
        rest = _raw_rest(request.scope)
        return Response(status_code=307, headers={"location": url + rest})

    async def send_page(self, request: Request) -> Response:
        """Send a file of an app that is served under a path."""
        app_id = request.path("app_id")
        frontend = await self._find(app_id)
        if not frontend.public:
            message = (
                f"app '{app_id}' is for users with a role on it, which needs a host of its own"
            )
            raise Forbidden(message)
        path = request.scope["path_params"].get("path")
        if path is None:
            rest = _raw_rest(request.scope)
            location = request.public_path(f"/apps/{app_id}/{rest}")
            return Response(status_code=307, headers={"location": location})
        return _Page(self._services.get(DOOR), frontend, path)

    async def _find(self, app_id: str) -> Frontend:
        frontend = await self._services.get(DIRECTORY).find(app_id)
        if frontend is None:
            raise NotFound(f"app '{app_id}' has no frontend")
        return frontend


class _Page(Response):
    """A file of a frontend, as the reply of a route."""

    def __init__(self, door: AppDoor, frontend: Frontend, path: str) -> None:
        self._door = door
        self._frontend = frontend
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.send_page(self._frontend, self._path, scope, send)


def _raw_rest(scope: Scope) -> str:
    """Return what follows `/apps/{appId}/` as the client wrote it, with the query."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    segments = raw_path.partition(b"?")[0].split(b"/")
    rest = b"/".join(segments[3:])
    query: bytes = scope["query_string"]
    if query:
        rest += b"?" + query
    return rest.decode("latin-1")
