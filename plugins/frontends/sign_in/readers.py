"""Asks for a sign-in before the files of an app that are not public."""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import urlencode

from starlette.types import Scope

from kernel.public import (
    ACCESS,
    APP_USER,
    HOOKS,
    NOTHING,
    NOTIFICATIONS,
    Actor,
    Forbidden,
    InvalidatedCache,
    Request,
    Response,
    Services,
    Unauthenticated,
    door_of,
    headers_of,
    hookspecs,
    request_id_of,
    with_authorization,
)
from plugins.frontends.hosts import Hosts

from . import cookies
from .cookies import SESSION, HostCookies
from .routes import AUTH, NO_SESSION
from .service import SIGN_IN

TOPIC: Final = "frontends_readers"
MARGIN: Final = 60
"""Seconds for which a token is not used any more before it expires."""
MAX_READERS: Final = 10_000
NO_ROLE: Final = "this app is for users with a role on it: ask its admin"


class Readers:
    """Knows the users behind cookies.

    Each request asks `authenticate` with an access token that is kept for the cookie, so that the
    end of a session, or of a role, ends reading at once.
    """

    def __init__(self, services: Services, hosts: Hosts) -> None:
        self._services = services
        self._cookies = HostCookies(hosts)
        self._tokens = InvalidatedCache[bytes, tuple[str, int]](
            services.get(NOTIFICATIONS),
            TOPIC,
            size=MAX_READERS,
            ttl=lambda token: token[1] - MARGIN,
            affects=lambda payload, key, token: True,
        )

    async def refuse(self, scope: Scope) -> Response | None:
        """Return what a browser gets that may not see the files of the host; None where it may.

        A page leads to the sign-in. Raises Unauthenticated for other files, and Forbidden for a
        user without a role on the app.
        """
        actor = await self._find_actor(scope)
        if actor is None:
            if not is_of_page(scope):
                raise Unauthenticated(NO_SESSION)
            return _lead_to_sign_in(scope)
        try:
            await self._services.get(ACCESS).authorize(
                actor, APP_USER, {"app_id": door_of(scope) or ""}
            )
        except Forbidden:
            raise Forbidden(NO_ROLE).with_caller(actor.user_id, actor.session_id) from None
        return None

    async def _find_actor(self, scope: Scope) -> Actor | None:
        value = self._cookies.read(headers_of(scope), SESSION)
        app_id = door_of(scope) or ""
        sign_in = self._services.get(SIGN_IN)
        refresh_token = cookies.open_token(sign_in.key, value, app_id)
        if refresh_token is None:
            return None
        request = Request(scope)
        caller = Actor(
            user_id=None,
            request_id=request_id_of(scope),
            address=request.address,
            limits=NOTHING,
            door=door_of(scope),
        )

        async def renew() -> tuple[str, int]:
            session, _ = await sign_in.refresh(caller, refresh_token)
            return session.access_token, session.expires_in

        key = hashlib.sha256(value.encode()).digest()
        try:
            token, _ = await self._tokens.get_or_load(key, renew)
            credentials = with_authorization(scope, b"Bearer " + token.encode())
            hooks = self._services.get(HOOKS)
            return await hooks.first(hookspecs.authenticate, request=Request(credentials))
        except (Unauthenticated, Forbidden):  # also where a second factor must be set up first
            return None


def is_of_page(scope: Scope) -> bool:
    """Whether a browser asks for a page to show, and not for a file that a page uses."""
    headers = headers_of(scope)
    mode = headers.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return b"text/html" in headers.get(b"accept", b"")


def _lead_to_sign_in(scope: Scope) -> Response:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw_path.partition(b"?")[0].decode("latin-1")
    query: bytes = scope["query_string"]
    if query:
        path += "?" + query.decode("latin-1")
    location = f"{AUTH}/sign-in?{urlencode({'return_to': path})}"
    return Response(status_code=303, headers={"location": location})
