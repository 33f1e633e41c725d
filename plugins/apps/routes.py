"""HTTP for apps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from kernel.public import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    APPS,
    FRONTENDS,
    STATEMENTS,
    BadRequest,
    Message,
    Request,
    Response,
    Route,
    Services,
    decode,
    headers_of,
    one_of,
    reply,
    whole_number,
)

from .editing.editor import Editor
from .editing.models import Edited, Source, Step, Undo
from .editing.operations import Edit
from .manifest.reader import MAX_BYTES
from .models import (
    Described,
    From,
    Install,
    Installed,
    InstallQuery,
    ManifestBody,
    Page,
    Pruned,
    Pruning,
    Summary,
    Verdict,
    describe,
    summarize,
)
from .proposals.bodies import MAX_UPLOAD, Proposals
from .proposals.models import Proposal
from .service import SERVICE, AppsService
from .visible import VisibleApps

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class AppsRoutes:
    """Routes of the plugin."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._proposals = Proposals()

    @property
    def _apps(self) -> AppsService:
        return self._services.get(SERVICE)

    def routes(self) -> Sequence[Route]:
        """Declare them."""
        apps = "/api/v1/apps"
        app = "/api/v1/apps/{app_id}"
        verify = f"{apps}/schema/verify"
        prune = f"{app}/schema/prune"
        return [
            Route(
                "GET", apps, self.list_apps, ANY_USER, returns=list[Summary], app_hosts=True,
                narrowed=True,
            ),
            Route(
                "GET", "/api/v1/manifest.schema.json", self.schema, ANY_USER,
                returns=dict[str, Any],
            ),
            Route(
                "POST", apps, self.install, ANY_USER, ManifestBody, MAX_BYTES, Installed,
                query=InstallQuery, errors=(403,), admit=self.admit,
            ),
            Route(
                "POST", verify, self.verify, ANY_USER, ManifestBody, MAX_BYTES, Verdict,
                errors=(403,), admit=self.admit,
            ),
            Route(
                "POST", f"{apps}/from-data", self.propose, ANY_USER, None, MAX_UPLOAD, Proposal,
                errors=(403,), admit=self.admit, openapi=FILES_OR_ROWS,
            ),
            Route("GET", app, self.show, APP_USER, returns=Described, app_hosts=True),
            Route("GET", f"{app}/manifest", self.manifest, APP_ADMIN, returns=dict[str, Any]),
            Route(
                "POST", f"{app}/manifest/edit", self.edit, APP_ADMIN, Edit, MAX_BYTES, Edited,
                errors=(409, 412),
            ),
            Route(
                "POST", f"{app}/manifest/undo", self.undo, APP_ADMIN, Undo, returns=Edited,
                errors=(409, 412),
            ),
            Route("GET", f"{app}/manifest/history", self.history, APP_ADMIN, returns=list[Step]),
            Route(
                "PUT", f"{app}/manifest/source", self.set_source, APP_ADMIN, Source,
                returns=Message,
            ),
            Route("GET", f"{app}/manifests", self.manifests, APP_ADMIN, returns=list[Install]),
            Route(
                "GET", f"{app}/manifests/{{stamp}}", self.former, APP_ADMIN,
                returns=dict[str, Any], errors=(400,),
            ),
            Route("DELETE", app, self.remove, APP_ADMIN, returns=Message),
            Route("POST", prune, self.prune, APP_ADMIN, Pruning, returns=Pruned),
        ]  # fmt: skip

    @property
    def _editor(self) -> Editor:
        return Editor(self._services.get(STATEMENTS), self._apps)

    @property
    def _visible(self) -> VisibleApps:
        return VisibleApps(self._services.get(APPS), self._services.get(ACCESS))

    async def _read_pages(self, request: Request) -> Callable[[str], Page]:
        """Return a function that says where the first page of an app is, for this client."""
        frontends = self._services.find(FRONTENDS)
        if frontends is None:
            return lambda app_id: Page()
        deployed = await frontends.deployed()

        def find_page(app_id: str) -> Page:
            if app_id not in deployed:
                return Page()
            return Page(has_frontend=True, url=frontends.url(app_id, request))

        return find_page

    async def list_apps(self, request: Request) -> Response:
        """List every installed app by name; with an API key for some apps, these.

        On the host of an app it is this app only.
        """
        apps = await self._visible.all(request.actor)
        find_page = await self._read_pages(request)
        return reply([summarize(app, find_page(app.id)) for app in apps])

    async def show(self, request: Request) -> Response:
        """Show an app with its entities and their fields.

        Entities on which the caller has no right are left out, and fields that it may not read.
        """
        app = await self._visible.app(request.actor, request.path("app_id"))
        find_page = await self._read_pages(request)
        return reply(describe(app, find_page(app.id)))

    async def manifest(self, request: Request) -> Response:
        """Show the manifest that an app was installed from; its `ETag` is for edits."""
        stored = await self._editor.read(request.path("app_id"))
        return reply(bytes(stored.manifest), headers={"etag": stored.etag})

    async def edit(self, request: Request, body: Edit) -> Response:
        """Change the manifest by small steps, in one transaction; `If-Match` is needed.

        Everything that an install refuses is refused. `dryRun` says what would change.
        """
        app_id = request.path("app_id")
        result = await self._editor.edit(request.actor, app_id, body, _read_if_match(request))
        return reply(result.edited, headers={"etag": result.etag})

    async def undo(self, request: Request, body: Undo) -> Response:
        """Go back to a former manifest; what was renamed since keeps its data."""
        app_id = request.path("app_id")
        result = await self._editor.undo(request.actor, app_id, body, _read_if_match(request))
        return reply(result.edited, headers={"etag": result.etag})

    async def history(self, request: Request) -> Response:
        """List the installs of an app with what each changed, the newest first; 50 are kept."""
        return reply(await self._editor.history(request.path("app_id")))

    async def set_source(self, request: Request, body: Source) -> Response:
        """Say where the manifest is changed: in the folder of a deploy, or here."""
        app_id = request.path("app_id")
        await self._editor.set_source(request.actor, app_id, body)
        place = "here" if body.managed_by is None else "in files"
        return reply({"message": f"the manifest of app '{app_id}' is changed {place}"})

    async def manifests(self, request: Request) -> Response:
        """List the installs of an app, the newest first; 50 are kept."""
        return reply(await self._apps.installs(request.path("app_id")))

    async def former(self, request: Request) -> Response:
        """Show the manifest of one install."""
        stamp = whole_number("stamp", request.path("stamp"))
        return reply(await self._apps.former_manifest(request.path("app_id"), stamp))

    async def schema(self, request: Request) -> Response:
        """Show the JSON Schema of manifests, with the sections of the plugins that are on."""
        return reply(self._apps.schema())

    async def admit(self, request: Request) -> None:
        """Refuse a caller that cannot install any app, before the manifest is read."""
        await self._apps.check_any(request.actor)

    async def install(self, request: Request, body: msgspec.Raw) -> Response:
        """Install an app from a manifest, or update it to a new one; data is kept.

        `source=files` says that it comes from a folder: edits are refused from then on.
        """
        source = one_of("source", request.query().get("source", "request"), get_args(From))
        managed = source == "files"
        return reply(
            await self._apps.install(request.actor, _decode_manifest(body), managed=managed)
        )

    async def verify(self, request: Request, body: msgspec.Raw) -> Response:
        """Say what an install of this manifest would change."""
        return reply(await self._apps.verify(request.actor, _decode_manifest(body)))

    async def propose(self, request: Request) -> Response:
        """Propose an app from files of CSV or lines of JSON, or from rows; nothing is made.

        The proposal has a manifest with types, keys and links, says why, and how each file is
        imported once the manifest is installed.
        """
        return reply(await self._proposals.propose(request))

    async def remove(self, request: Request) -> Response:
        """Uninstall an app with its tables, roles, secrets, jobs and files."""
        app_id = request.path("app_id")
        await self._apps.remove(request.actor, app_id)
        return reply({"message": f"app '{app_id}' uninstalled"})

    async def prune(self, request: Request, body: Pruning) -> Response:
        """Permanently drop what the manifest no longer names; `dryRun` only lists it."""
        return reply(await self._apps.prune(request.actor, request.path("app_id"), body))


FILES_OR_ROWS: Final[Mapping[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "appId": {"type": "string"},
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["name", "tables"],
                    "properties": {
                        "name": {"type": "string"},
                        "appId": {"type": "string"},
                        "tables": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "array", "items": {"type": "object"},
                            },
                        },
                    },
                }
            },
        },
    }
}  # fmt: skip
"""The body of a proposal, which the handler reads itself."""


def _read_if_match(request: Request) -> str | None:
    """Return the header `If-Match`."""
    value = headers_of(request.scope).get(b"if-match")
    return None if value is None else value.decode("latin-1")


def _decode_manifest(body: msgspec.Raw) -> dict[str, Any]:
    """Decode a manifest; a repeated key is an error, as its first value would be lost."""
    raw = bytes(body)
    manifest: dict[str, Any] = decode(raw, _OBJECT)
    json.loads(raw, object_pairs_hook=_refuse_repeated_keys, parse_int=str, parse_float=str)
    return manifest


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise BadRequest(f"the manifest has the key {key[:80]!r} twice in one object")
        keys.add(key)
