"""Resources: guides of ours, and the manifests of apps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from contrib.mcp.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError
from contrib.mcp.models import Call, Json
from contrib.mcp.protocol.sizes import cut_text
from kernel.public import APP_ADMIN, APPS, ROUTES, InnerCall, Services

from .calls import APP_PATH, Visit
from .rights import ToolRights

GUIDES: Final = {
    "caudex://guides/reading": ("reading.md", "How to read records: filters, links, groups"),
    "caudex://guides/writing": ("writing.md", "How to write records, and to take it back"),
}
MAX_URI: Final = 2_000
"""Characters of an address that an error repeats."""
MANIFEST: Final = re.compile(r"caudex://apps/([a-z][a-z0-9_]{0,62})/manifest")
TEMPLATE: Final = {
    "uriTemplate": "caudex://apps/{app}/manifest",
    "name": "manifest",
    "description": "The manifest that an app was installed from; for admins of the app.",
    "mimeType": "application/json",
}
PAGE: Final = 100
"""Resources of a page of their list."""


class Resources:
    """Lists and reads resources for a caller."""

    def __init__(self, services: Services, rights: ToolRights) -> None:
        self._services = services
        self._rights = rights

    async def list(self, visit: Visit, call: Call) -> Json:
        """Return a page of the resources that a caller may read. Raises RpcError."""
        resources = [
            {"uri": uri, "name": name, "description": description, "mimeType": "text/markdown"}
            for uri, (name, description) in GUIDES.items()
        ]
        resources += [
            {
                "uri": f"caudex://apps/{app_id}/manifest",
                "name": f"{app_id}.manifest.json",
                "description": "The manifest of an app.",
                "mimeType": "application/json",
            }
            for app_id in await self._list_administered(visit)
        ]
        start = _read_cursor(call)
        result: Json = {"resources": resources[start : start + PAGE]}
        if len(resources) > start + PAGE:
            result["nextCursor"] = str(start + PAGE)
        return result

    async def read(self, visit: Visit, call: Call) -> Json:
        """Return a resource. Raises RpcError for one that is not there, KernelError."""
        uri = call.params.get("uri")
        if not isinstance(uri, str):
            raise RpcError(INVALID_PARAMS, "uri must be a text", call_id=call.id)
        if uri in GUIDES:
            guide = files(__package__ or "") / "guide" / GUIDES[uri][0]
            text = guide.read_text("utf-8")
            return {"contents": [{"uri": uri, "mimeType": "text/markdown", "text": text}]}
        match = MANIFEST.fullmatch(uri)
        if match is None:
            code = INVALID_PARAMS if call.is_modern else RESOURCE_NOT_FOUND
            data = {"uri": uri[:MAX_URI]}
            raise RpcError(code, "there is no such resource", call_id=call.id, data=data)
        inner = InnerCall(method="GET", route=f"{APP_PATH}/manifest", path={"app_id": match[1]})
        reply = await self._services.get(ROUTES).call(visit.request, visit.actor, inner)
        text = cut_text(reply.body.decode(), "describe_app shows the entities one by one")
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}

    async def _list_administered(self, visit: Visit) -> Sequence[str]:
        """Return the apps that the caller is an admin of."""
        return [
            app.id
            for app in await self._services.get(APPS).all()
            if await self._rights.allows(visit.actor, APP_ADMIN, app.id)
        ]


def _read_cursor(call: Call) -> int:
    cursor = call.params.get("cursor", "0")
    if not isinstance(cursor, str) or not re.fullmatch(r"[0-9]{1,6}", cursor):
        raise RpcError(INVALID_PARAMS, "the cursor is not one of this server", call_id=call.id)
    return int(cursor)
