"""Keeps keys out of addresses, and asks programs without a token for one."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from kernel.public import STATEMENTS, BadRequest, KernelError, Services, Unauthenticated, headers_of

from . import store
from .secrets import BEARER, LENGTH, PREFIX, hash_key, is_key

IN_ADDRESS: Final = (
    "an API key must not be part of an address, where logs and histories keep it: send it as"
    " `Authorization: Bearer`, or as the password of Basic, and replace it by a new one"
)
BOTH_SCHEMES: Final = 'Bearer, Basic realm="Caudex", charset="UTF-8"'
BETWEEN: Final = re.compile(r"[&;=]")


class AddressGuard:
    """Refuses a query string with a key before anything else looks at the request.

    A refused GET without a bearer that no browser's page has sent learns of Basic, as spreadsheets
    need it.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self._services = services

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request; most need no guard, and get none."""
        query: bytes = scope.get("query_string") or b""
        authorization = headers_of(scope).get(b"authorization")
        has_token = authorization is not None and authorization.startswith(BEARER)
        if has_token and len(query) < LENGTH:
            return self.app(scope, receive, send)
        return self._serve_guarded(scope, receive, send, query)

    async def _serve_guarded(
        self, scope: Scope, receive: Receive, send: Send, query: bytes
    ) -> None:
        if len(query) >= LENGTH:
            key = find_key(query)
            if key is not None:
                await self._refuse(key)
        try:
            await self.app(scope, receive, send)
        except Unauthenticated as error:
            is_of_page = b"sec-fetch-mode" in headers_of(scope)
            if scope["method"] == "GET" and not is_of_page:
                error.headers["www-authenticate"] = BOTH_SCHEMES
            raise

    async def _refuse(self, key: str) -> None:
        """Raise BadRequest; the log has the id of the key."""
        try:
            key_id = await store.id_of_hash(self._services.get(STATEMENTS), hash_key(key))
        except KernelError:
            key_id = None
        if key_id is not None:
            bind_contextvars(key=key_id)
        raise BadRequest(IN_ADDRESS)


def find_key(query: bytes) -> str | None:
    """Return a well-formed key that is a value of a query string."""
    if PREFIX.encode() not in query and b"%" not in query:
        return None
    for part in BETWEEN.split(query.decode("latin-1")):
        text = unquote_plus(part)
        if is_key(text.strip()):
            return text.strip()
    return None
