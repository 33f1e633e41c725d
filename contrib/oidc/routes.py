"""The routes of a sign-in: login, callback, and the exchange of a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urldefrag

import msgspec
from starlette.responses import RedirectResponse

from kernel.public import (
    PUBLIC,
    BadRequest,
    Forbidden,
    Request,
    Response,
    Route,
    Services,
    Unauthenticated,
    reply,
)

from .attempts import ATTEMPT_SECONDS
from .models import Attempt, Callback, Entry, Handover, SignedIn
from .service import OIDC, OidcService

COOKIE: Final = "caudex_oidc"
PATH: Final = "/api/v1/auth/oidc"
MAX_BODY: Final = 4000
LOCATION: Final = {"Location": {"required": True, "schema": {"type": "string"}}}
TO_PROVIDER: Final = {
    "responses": {"302": {"description": "To the provider.", "headers": LOCATION}}
}
TO_PAGE: Final = {
    "responses": {
        "302": {
            "description": "Back to the page, which finds `#code=` or `#error=` in its address.",
            "headers": LOCATION,
        }
    }
}


class OidcRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services, *, secure: bool) -> None:
        self._services = services
        self._secure = secure

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        return [
            Route(
                "GET", f"{PATH}/login", self.login, PUBLIC, status=302, query=Entry,
                openapi=TO_PROVIDER,
            ),
            Route(
                "GET", f"{PATH}/callback", self.callback, PUBLIC, returns=SignedIn, query=Callback,
                errors=(401, 403), openapi=TO_PAGE,
            ),
            Route(
                "POST", f"{PATH}/exchange", self.exchange, PUBLIC, Handover, MAX_BODY, SignedIn,
                errors=(401,),
            ),
        ]  # fmt: skip

    @property
    def _oidc(self) -> OidcService:
        return self._services.get(OIDC)

    async def login(self, request: Request) -> Response:
        """Redirect the browser to the provider.

        `return_to` is the page to return to. `challenge` is the SHA-256, in base64url, of a
        verifier that the page keeps.
        """
        entry = msgspec.convert(request.query(), Entry)
        address, sealed = await self._oidc.begin(entry.return_to, entry.challenge)
        answer = RedirectResponse(address, 302)
        answer.set_cookie(
            COOKIE,
            sealed,
            ATTEMPT_SECONDS,
            path=request.public_path(PATH),
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    async def callback(self, request: Request) -> Response:
        """Finish a sign-in.

        The page that began it gets `#code=` to exchange, or `#error=`. Without a page the reply is
        the one of a login.
        """
        callback = msgspec.convert(request.query(), Callback)
        attempt = self._oidc.attempt(_read_cookie(request), callback.state)
        try:
            answer = await self._finish(request, attempt, callback)
        except (Forbidden, Unauthenticated) as error:
            if not attempt.return_to:
                raise
            answer = _redirect(attempt, "error", error.message)
        answer.delete_cookie(
            COOKIE, request.public_path(PATH), secure=self._secure, httponly=True, samesite="lax"
        )
        return answer

    async def exchange(self, request: Request, body: Handover) -> Response:
        """Exchange the code of a callback for tokens, once, within a minute.

        Only the page that began the sign-in has the verifier.
        """
        agent = request.headers.get("user-agent", "")
        return reply(await self._oidc.take_over(body, request.actor, agent))

    async def _finish(self, request: Request, attempt: Attempt, callback: Callback) -> Response:
        if callback.error:
            raise Unauthenticated(f"the provider refused the sign-in: {callback.error[:100]}")
        if not callback.code:
            raise BadRequest("code is required")
        user_id = await self._oidc.finish(attempt, callback.code, callback.iss, request.actor)
        if attempt.return_to:
            code = await self._oidc.hand_over(user_id, attempt.challenge)
            return _redirect(attempt, "code", code)
        agent = request.headers.get("user-agent", "")
        return reply(await self._oidc.session(user_id, request.actor, agent))


def _redirect(attempt: Attempt, name: str, value: str) -> Response:
    """Redirect to the page with a value in the fragment, which no server and no log sees."""
    page = urldefrag(attempt.return_to).url
    return RedirectResponse(f"{page}#{name}={quote(value, safe='')}", 302)


def _read_cookie(request: Request) -> str:
    """Return the first cookie of this name: the one with the longest path (RFC 6265, 5.4).

    `http.cookies` is not used: it unquotes values, which takes long for a malicious header.
    """
    for pair in request.headers.get("cookie", "").split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == COOKIE:
            return value.strip()
    return ""
