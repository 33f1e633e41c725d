"""Files over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from kernel.public import (
    ACCESS,
    ANY_USER,
    APP_USER,
    APPS,
    FORM_FRAME,
    LINK_HEADERS,
    PUBLIC,
    STORAGE,
    THUMBNAILS,
    Access,
    BadRequest,
    Forbidden,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    find_origin,
    limits_of,
    one_of,
    reply,
)

from .config import FilesConfig
from .downloads.replies import describe_content, send_content
from .downloads.service import DOWNLOADS, Downloads
from .downloads.thumbnails import Pictures
from .models import (
    Deleted,
    DownloadQuery,
    Link,
    LinkBody,
    LinkQuery,
    StorageUploaded,
    StoredFile,
    Uploaded,
    UploadQuery,
)
from .service import UPLOADS, UploadRights, Uploads
from .uploads.bodies import open_body

APP: Final = "/api/v1/apps/{app_id}"
FILE: Final = f"{APP}/files/{{id}}"

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of the file, or a form with the part `file`.",
        "content": {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
"""The body of an upload; it is streamed, so no type describes it."""
DOWNLOAD: Final[dict[str, Any]] = {
    "responses": {
        "200": {"description": "The content.", "content": {"*/*": _BINARY}},
        "206": {"description": "The range that was asked for.", "content": {"*/*": _BINARY}},
        "304": {"description": "The content that the client has."},
        "416": {"description": "The range begins beyond the end."},
    }
}


class FilesRoutes:
    """The handlers."""

    def __init__(self, services: Services, config: FilesConfig) -> None:
        self._services = services
        self._config = config

    @cached_property
    def _access(self) -> Access:
        return self._services.get(ACCESS)

    @cached_property
    def _rights(self) -> UploadRights:
        return UploadRights(self._services.get(APPS), self._access)

    @cached_property
    def _uploads(self) -> Uploads:
        return self._services.get(UPLOADS)

    @cached_property
    def _downloads(self) -> Downloads:
        return self._services.get(DOWNLOADS)

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self._services.get(STORAGE), lambda: self._services.find(THUMBNAILS))

    def routes(self) -> Sequence[Route]:
        """Every route with what it needs. What depends on the file or the entities is asked later.

        Tokens of workers and of app hosts are good for all of them.
        """
        largest = self._config.max_size + FORM_FRAME
        open_to: dict[str, Any] = {"workers": True, "app_hosts": True}
        return [
            Route(
                "POST", f"{APP}/files", self.upload, ANY_USER, max_body=largest, returns=Uploaded,
                status=201, query=UploadQuery, openapi=UPLOAD, errors=(403, 404, 429, 503),
                admit=self.admit_upload, narrowed=True, **open_to,
            ),
            Route(
                "GET", FILE, self.download, APP_USER, query=DownloadQuery, openapi=DOWNLOAD,
                errors=(404,), **open_to,
            ),
            Route(
                "POST", f"{FILE}/link", self.make_link, APP_USER, LinkBody, returns=Link,
                errors=(404,), **open_to,
            ),
            Route(
                "GET", f"{FILE}/link", self.open_link, PUBLIC, query=LinkQuery, openapi=DOWNLOAD,
                errors=(403,), app_hosts=True,
            ),
            Route(
                "POST", f"{APP}/storage/upload", self.upload_to_app, ANY_USER, max_body=largest,
                returns=StorageUploaded, status=201, query=UploadQuery, openapi=UPLOAD,
                errors=(403, 404, 503), admit=self.admit_any_upload, narrowed=True, **open_to,
            ),
            Route(
                "GET", f"{APP}/storage/{{id}}", self.download, APP_USER, query=DownloadQuery,
                openapi=DOWNLOAD, errors=(404,), **open_to,
            ),
            Route(
                "DELETE", f"{APP}/storage/{{id}}", self.delete, APP_USER, returns=Deleted,
                errors=(403, 404), **open_to,
            ),
        ]  # fmt: skip

    async def admit_upload(self, request: Request) -> None:
        """Let in who may create or change a record that holds files."""
        await self._rights.check(request.actor, request.path("app_id"))

    async def admit_any_upload(self, request: Request) -> None:
        """Let in who may create or change a record of any kind."""
        await self._rights.check(request.actor, request.path("app_id"), any_entity=True)

    async def upload(self, request: Request) -> Response:
        """Send a file, which no record holds yet. Write its id into a record within a day.

        `type` is what the content is. A user has a bounded number of files that no record holds.
        """
        file = await self._receive(request, of_app=False)
        uploaded = Uploaded(
            id=file.id,
            name=file.name,
            type=file.type,
            size=file.size,
            sha256=file.sha256 or "",
            created_at=file.created_at,
        )
        return reply(uploaded, 201)

    async def upload_to_app(self, request: Request) -> Response:
        """Send a file that the app itself holds until it is deleted; its users may read it."""
        file = await self._receive(request, of_app=True)
        uploaded = StorageUploaded(
            file_id=file.id, name=file.name, content_type=file.type, size=file.size
        )
        return reply(uploaded, 201)

    async def _receive(self, request: Request, *, of_app: bool) -> StoredFile:
        query = _read_query(request, ("name",))
        incoming = await open_body(request, query.get("name", ""), self._config.max_size)
        return await self._uploads.receive(
            request.actor, request.path("app_id"), incoming, of_app=of_app
        )

    async def download(self, request: Request) -> Response:
        """Read a file: who may read a record that holds it, or uploaded it a while ago.

        A range, an `ETag` and `If-Range` are as for any file of a web server.
        """
        query = _read_query(request, ("download", "thumb"))
        file = await self._downloads.reading.find_readable(
            request.actor, request.path("app_id"), request.path("id")
        )
        return await self._send(request, file, query, {"cache-control": "private, no-cache"})

    async def make_link(self, request: Request, body: LinkBody) -> Response:
        """Make an address of a file that works without a token, at most for 7 days.

        It ends with the caller's right to read the file.
        """
        app_id = request.path("app_id")
        file = await self._downloads.reading.find_readable(
            request.actor, app_id, request.path("id")
        )
        token = self._downloads.links.sign(request.actor, app_id, file, body.seconds)
        path = request.public_path(f"/api/v1/apps/{app_id}/files/{file.id}/link")
        origin = find_origin(request, self._config.url)
        return reply(Link(f"{origin}{path}?token={token}"))

    async def open_link(self, request: Request) -> Response:
        """Read a file through a link that was made for it."""
        query = _read_query(request, ("token", "download", "thumb"))
        file = await self._downloads.links.open(
            query.get("token", ""), request.actor, request.path("app_id"), request.path("id")
        )
        return await self._send(request, file, query, dict(LINK_HEADERS))

    async def delete(self, request: Request) -> Response:
        """Delete a file that the app itself holds, or that no record has held.

        Who uploaded it may do so, and an admin of the app. Records that hold it keep it.
        """
        app_id = request.path("app_id")
        actor = request.actor
        file = await self._downloads.reading.find_readable(actor, app_id, request.path("id"))
        if file.uploader_id != actor.user_id and not await self._access.is_app_admin(
            actor.user_id, app_id, **limits_of(actor)
        ):
            raise Forbidden("only who uploaded the file, or an admin of the app, deletes it")
        if not await self._downloads.drop(file.id):
            raise NotFound(f"file '{file.id}' is held by records alone")
        return reply(Deleted(deleted=True))

    async def _send(
        self, request: Request, file: StoredFile, query: Mapping[str, str], headers: dict[str, str]
    ) -> Response:
        download = one_of("download", query.get("download", "false"), _FLAGS) in ("true", "1")
        all_headers = {**describe_content(file, download=download), **headers}
        if "thumb" in query:
            return await self._pictures.send(request, file, query["thumb"], all_headers)
        return await send_content(request, self._services.get(STORAGE), file, all_headers)


_FLAGS: Final = ("true", "false", "1", "0")


def _read_query(request: Request, names: Sequence[str]) -> dict[str, str]:
    """Return the query parameters. Raises BadRequest for one that the route does not have."""
    query = request.query()
    for name in query:
        if name not in names:
            raise BadRequest(f"unknown parameter {name[:80]!r}; known: {', '.join(names)}")
    return query
