"""The routes of the sign-in: four on apps' hosts, and one for the server's sign-in page."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from kernel.public import (
    ANY_USER,
    PUBLIC,
    REGISTRY,
    Message,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    Unauthenticated,
    door_of,
    headers_of,
    reply,
)
from plugins.frontends.hosts import Hosts
from plugins.frontends.serving.directory import DIRECTORY

from . import cookies
from .cookies import ATTEMPT, ATTEMPT_SECONDS, SESSION, SESSION_SECONDS, HostCookies
from .models import Callback, Continuation, Continued, Entry, PageSession
from .servers import ServerAddress
from .service import BAD_CODE, SIGN_IN, AppSignIn

AUTH: Final = "/_auth"
MAX_BODY: Final = 4000
LOCATION: Final = {"Location": {"required": True, "schema": {"type": "string"}}}
NO_SESSION: Final = "sign in: there is no session on this host"


def _leads(description: str) -> dict[str, Any]:
    return {"responses": {"303": {"description": description, "headers": LOCATION}}}


class SignInRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services, hosts: Hosts, server: ServerAddress) -> None:
        self._services = services
        self._hosts = hosts
        self._server = server
        self._cookies = HostCookies(hosts)

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        return [
            Route(
                "GET", f"{AUTH}/sign-in", self.begin, PUBLIC, status=303, query=Entry,
                errors=(404,), openapi=_leads("To the server's sign-in page."), app_hosts=True,
            ),
            Route(
                "GET", f"{AUTH}/callback", self.finish, PUBLIC, status=303, query=Callback,
                errors=(401, 404), openapi=_leads("Back to the page of the app."), app_hosts=True,
            ),
            Route(
                "GET", f"{AUTH}/session", self.show, PUBLIC, returns=PageSession,
                errors=(401, 403, 404), app_hosts=True,
            ),
            Route(
                "POST", f"{AUTH}/sign-out", self.end, PUBLIC, returns=Message,
                errors=(403, 404),
                app_hosts=True,
            ),
            Route(
                "POST", "/api/v1/frontends/sign-in", self.go_on, ANY_USER, Continuation, MAX_BODY,
                Continued, errors=(403, 404),
            ),
        ]  # fmt: skip

    @property
    def _sign_in(self) -> AppSignIn:
        return self._services.get(SIGN_IN)

    async def begin(self, request: Request) -> Response:
        """Lead a browser to the server's sign-in page, and back to `return_to` after that."""
        app_id = _app_of(request)
        _ = self._sign_in.sessions
        plugins = self._services.get(REGISTRY).plugins
        if not any(info.name == "console" and info.state == "on" for info in plugins):
            raise NotFound("the sign-in page is part of the console, which is off")
        attempt = cookies.new_attempt(request.query().get("return_to", "/"))
        query = urlencode({"app": app_id, "challenge": attempt.challenge, "state": attempt.state})
        page = self._server.locate(request) + request.public_path("/console/")
        value = cookies.write_attempt(attempt)
        return _lead(
            f"{page}#/app-sign-in?{query}", [self._cookie(request, ATTEMPT, value, ATTEMPT_SECONDS)]
        )

    async def go_on(self, request: Request, body: Continuation) -> Response:
        """Continue the caller's session on the host of an app.

        The reply is where the browser goes next. Only the one that began the sign-in there can use
        the address, once, within a minute.
        """
        frontend = await self._services.get(DIRECTORY).find(body.app)
        address = self._hosts.locate(body.app, request)
        if frontend is None or address is None or self._hosts.serve_paths:
            raise NotFound(f"app '{body.app}' has no frontend at a host of its own")
        code = await self._sign_in.issue_code(request.actor, body.app, body.challenge)
        query = urlencode({"code": code, "state": body.state})
        return reply(Continued(url=f"{address}{AUTH.removeprefix('/')}/callback?{query}"))

    async def finish(self, request: Request) -> Response:
        """Begin a session on this host by the code of the sign-in page."""
        app_id = _app_of(request)
        callback = msgspec.convert(request.query(), Callback)
        attempt = cookies.read_attempt(self._read(request, ATTEMPT))
        if attempt is None or not hmac.compare_digest(attempt.state, callback.state):
            raise Unauthenticated(BAD_CODE)
        agent = request.headers.get("user-agent", "")
        opened = await self._sign_in.redeem_code(request.actor, attempt, callback.code, agent)
        await self._end_session(request)
        token = opened.refresh_token or ""
        value = cookies.seal_token(self._sign_in.key, token, app_id)
        return _lead(
            attempt.return_to,
            [
                self._cookie(request, SESSION, value, SESSION_SECONDS),
                self._cookie(request, ATTEMPT, "", 0),
            ],
        )

    async def show(self, request: Request) -> Response:
        """Give a page of this host an access token for the app. No other page gets it."""
        app_id = _app_of(request)
        cookies.check_same_origin(request)
        token = self._token(request)
        if token is None:
            raise Unauthenticated(NO_SESSION)
        try:
            session, following = await self._sign_in.refresh(request.actor, token)
        except Unauthenticated as error:
            error.headers["set-cookie"] = self._cookie(request, SESSION, "", 0)
            raise
        value = cookies.seal_token(self._sign_in.key, following, app_id)
        cookie = self._cookie(request, SESSION, value, SESSION_SECONDS)
        return reply(session, headers={"set-cookie": cookie})

    async def end(self, request: Request) -> Response:
        """Sign out on this host."""
        _ = _app_of(request)
        cookies.check_same_origin(request)
        await self._end_session(request)
        headers = {"set-cookie": self._cookie(request, SESSION, "", 0)}
        return reply({"message": "signed out"}, headers=headers)

    async def _end_session(self, request: Request) -> None:
        token = self._token(request)
        if token is not None:
            with suppress(Unauthenticated):  # it has ended already
                await self._sign_in.sessions.logout(token, request.actor)

    def _token(self, request: Request) -> str | None:
        """Return the refresh token of the cookie; None without one that is good here."""
        value = self._read(request, SESSION)
        if not value:
            return None
        return cookies.open_token(self._sign_in.key, value, _app_of(request))

    def _read(self, request: Request, name: str) -> str:
        return self._cookies.read(headers_of(request.scope), name)

    def _cookie(self, request: Request, name: str, value: str, seconds: int) -> str:
        return self._cookies.make_header(headers_of(request.scope), name, value, seconds)


def _app_of(request: Request) -> str:
    """Return the app of the host. Raises NotFound on the server's own: none of this is there."""
    app_id = door_of(request.scope)
    if app_id is None:
        raise NotFound("there is no such route")
    return app_id


def _lead(location: str, set_cookies: Sequence[str]) -> Response:
    """Lead a browser on; addresses of a sign-in are named to no other site."""
    headers = {"location": location, "referrer-policy": "no-referrer"}
    response = Response(status_code=303, headers=headers)
    for cookie in set_cookies:
        response.headers.append("set-cookie", cookie)
    return response
