"""What answers at the host of an app: its files, and the routes that are there."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from kernel.public import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    Response,
    ServiceKey,
    door_of,
    headers_of,
)
from plugins.frontends.bundles.names import INDEX
from plugins.frontends.hosts import Hosts
from plugins.frontends.sign_in.readers import Readers, is_of_page

from .directory import Directory, Frontend
from .installation import CLEAR, InstallationCookie
from .replies import FileSender
from .sites import Sites

ROUTED: Final = frozenset({"api", "_auth", "health"})
"""First names of paths that the server's own routes answer, as far as they are there."""
METHODS: Final = "GET, HEAD, OPTIONS"


class AppDoor:
    """Answers requests that came through the hosts of apps."""

    def __init__(self, directory: Directory, sites: Sites, hosts: Hosts, readers: Readers) -> None:
        self._directory = directory
        self._sites = sites
        self._hosts = hosts
        self._readers = readers
        self._sender = FileSender(sites)
        self.cookie = InstallationCookie()

    async def answer(self, routes: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; `routes` are those of all plugins.

        Raises NotFound, and what `send_page` raises.
        """
        app_id = door_of(scope)
        assert app_id is not None
        frontend = await self._directory.find(app_id)
        if frontend is None:
            raise NotFound("there is no app at this host", headers=CLEAR)
        is_under_base = _strip_base(scope, f"/apps/{app_id}")
        path: str = scope["path"][1:]
        first_name = path.partition("/")[0]
        if first_name in ROUTED:
            await routes(scope, receive, send)
        elif first_name == "console":
            raise NotFound("the console is not at the host of an app")
        else:
            reply = await self._find_other_reply(frontend, scope)
            if reply is None and not is_under_base and is_of_page(scope):
                reply = await self._lead_to_base(frontend, path, scope)
            if reply is not None:
                await reply(scope, receive, send)
                return
            await self.send_page(frontend, path, scope, send)

    async def _find_other_reply(self, frontend: Frontend, scope: Scope) -> Response | None:
        """Return what is sent in place of a file: to the service worker of a former app, and to a
        browser that has to sign in first. None where the file itself is."""
        secure = self._hosts.is_secure(_host_of(scope))
        worker_end = self.cookie.end_former_worker(scope, frontend.key, secure=secure)
        if worker_end is not None or frontend.public:
            return worker_end
        return await self._readers.refuse(scope)

    async def _lead_to_base(self, frontend: Frontend, path: str, scope: Scope) -> Response | None:
        """Return what leads a browser to `/apps/{appId}/…`; None for pages without that base.

        The router of a page that was built with a base shows nothing at paths outside of it.
        """
        if scope["method"] not in ("GET", "HEAD") or path.partition("/")[0] == "apps":
            return None
        page = await self._sites.find(frontend, path)
        base = f"/apps/{frontend.app_id}/"
        if page is None or page.entry.path != INDEX:
            return None
        if not await self._sites.is_built_for(page, base):
            return None
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        location = base.encode() + raw_path.partition(b"?")[0][1:]
        query: bytes = scope["query_string"]
        if query:
            location += b"?" + query
        return Response(status_code=307, headers={"location": location.decode("latin-1")})

    async def send_page(self, frontend: Frontend, path: str, scope: Scope, send: Send) -> None:
        """Send the file that answers a path, which has no slash before it.

        Raises NotFound, MethodNotAllowed, Unavailable.
        """
        method: str = scope["method"]
        if method == "OPTIONS":
            await _answer_options(send)
            return
        if method not in ("GET", "HEAD"):
            message = f"{method} is not supported here"
            raise MethodNotAllowed(message, headers={"allow": METHODS})
        if "\ufffd" in path:
            raise BadRequest("the path is not valid UTF-8")
        file = await self._sites.find(frontend, path)
        is_fallback = file is not None and file.entry.path == INDEX
        if file is None or (is_fallback and path.partition("/")[0] == "apps"):
            raise NotFound("there is no such file")
        more_headers = list[tuple[bytes, bytes]]()
        if file.entry.path.endswith(".html") and not self._hosts.serve_paths:
            secure = self._hosts.is_secure(_host_of(scope))
            more_headers = self.cookie.make_headers(scope, frontend.key, secure=secure)
        await self._sender.send_file(frontend, file, more_headers, scope, send)


DOOR = ServiceKey[AppDoor]("frontends_door")


def _strip_base(scope: Scope, base: str) -> bool:
    """Let `/apps/{appId}/…` of the app itself answer as `/…`: bundles are built with that base.

    Return whether the path is under the base, which itself has a slash at its end.
    """
    path: str = scope["path"]
    is_under_base = path.startswith(f"{base}/")
    if path != base and not is_under_base:
        return False
    scope["path"] = path[len(base) :] or "/"
    raw_path: bytes = scope.get("raw_path") or b""
    if raw_path.startswith(base.encode()):
        scope["raw_path"] = raw_path[len(base) :] or b"/"
    return is_under_base


def _host_of(scope: Scope) -> str:
    host = headers_of(scope).get(b"host", b"").decode("latin-1").lower()
    return (host.rpartition(":")[0] or host).removesuffix(".")


async def _answer_options(send: Send) -> None:
    headers = [(b"allow", METHODS.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
