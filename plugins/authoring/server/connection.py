"""A connection to a server: requests, repetitions where they are safe, and errors in one form.

A 429 or 503 with Retry-After changed nothing, so the request is sent again. A read is sent again
when the connection broke. A write is not: it may have happened.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, cast

import anyio
import httpx

from plugins.authoring.errors import OutcomeUnknown, ServerAway, ServerRefused

from .credentials import UNAUTHORIZED, Credentials, ended

NOT_FOUND: Final = 404
ATTEMPTS: Final = 4
LONGEST_PAUSE: Final = 10.0
"""Seconds; a server that asks for a longer pause is not waited for."""
TIMEOUT: Final = httpx.Timeout(60, connect=5)
DEPLOY_TIMEOUT: Final = httpx.Timeout(660, connect=5)
"""Deploys may install packages, each tool for up to five minutes."""
STREAM_TIMEOUT: Final = httpx.Timeout(60, connect=5, read=None)

Body = Callable[[], AsyncIterator[bytes]]
"""Makes the body of a request, again for each attempt."""


class ServerConnection:
    """Sends requests to one server as one user."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url = url
        self._credentials = credentials
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=TIMEOUT,
            limits=httpx.Limits(keepalive_expiry=2.5),  # the server closes idle ones after five
            headers={"user-agent": "caudex"},
        )

    async def __aenter__(self) -> Self:
        """Begin; the first request connects."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """Read something."""
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: object) -> Any:
        """Make something."""
        return await self.call("POST", path, json=body)

    async def find(self, path: str) -> Any:
        """Read something that may be missing; None on a 404."""
        try:
            return await self.get(path)
        except ServerRefused as refusal:
            if refusal.code == NOT_FOUND:
                return None
            raise

    async def find_rows(self, path: str) -> list[dict[str, Any]] | None:
        """Read a list that may be missing; None on a 404."""
        return await self.find(path)

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded reply. Raises ServerRefused, ServerAway."""
        answer = await self._send(method, path, None, options)
        return _decode(answer)

    async def upload(
        self, path: str, body: Body, headers: Mapping[str, str], **options: Any
    ) -> Any:
        """Send a body in pieces and return the decoded reply."""
        options = {"timeout": DEPLOY_TIMEOUT, **options, "headers": headers}
        return _decode(await self._send("POST", path, body, options))

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **options: Any
    ) -> AsyncGenerator[httpx.Response]:
        """Open a reply that is read in pieces."""
        request = await self._build(method, path, None, {"timeout": STREAM_TIMEOUT, **options})
        answer = await self._deliver(request, stream=True)
        if _may_be_renewed(answer):
            await answer.aclose()
            await self._renew(request)
            request = await self._build(method, path, None, {"timeout": STREAM_TIMEOUT, **options})
            answer = await self._deliver(request, stream=True)
        try:
            if answer.is_error:
                await answer.aread()
                raise _refusal(answer)
            yield answer
        except httpx.TransportError as error:
            raise ServerAway(f"the connection to {self.url} broke: {_reason(error)}") from None
        finally:
            await answer.aclose()

    async def _send(
        self, method: str, path: str, body: Body | None, options: Mapping[str, Any]
    ) -> httpx.Response:
        """Send a request, again where that is safe."""
        is_renewed = False
        attempt = 0
        while True:
            attempt += 1
            is_last = attempt == ATTEMPTS
            request = await self._build(method, path, body, options)
            try:
                answer = await self._deliver(request)
            except OutcomeUnknown as error:
                if method != "GET":
                    raise
                if is_last:
                    raise ServerAway(error.message) from None
                continue
            if _may_be_renewed(answer) and not (is_renewed or is_last):
                is_renewed = True
                await self._renew(request)
                continue
            pause = _pause(answer)
            if pause is not None and not is_last:
                await anyio.sleep(pause)
                continue
            if answer.is_error:
                raise _refusal(answer)
            return answer

    async def _build(
        self, method: str, path: str, body: Body | None, options: Mapping[str, Any]
    ) -> httpx.Request:
        try:
            token = await self._credentials.token(self._http)
        except httpx.HTTPError as error:
            raise self._away(error) from None
        headers: dict[str, str] = {**options.get("headers", {})}
        if token:
            headers["authorization"] = f"Bearer {token}"
        parameters: dict[str, Any] = {**options, "headers": headers}
        if body is not None:
            parameters["content"] = body()
        return self._http.build_request(method, path, **parameters)

    async def _deliver(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._http.send(request, stream=stream)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._away(error) from None
        except httpx.TransportError as error:
            message = f"the connection to {self.url} broke: {_reason(error)}"
            if request.method != "GET":
                message += "; the request may have had its effect"
            raise OutcomeUnknown(message) from None

    async def _renew(self, request: httpx.Request) -> None:
        """Get another token. Raises NotSignedIn without a session."""
        refused = request.headers["authorization"].removeprefix("Bearer ")
        if not await self._credentials.renew(self._http, refused):
            raise ended(self.url)

    def _away(self, error: httpx.HTTPError) -> ServerAway:
        return ServerAway(f"no server answers at {self.url} ({_reason(error)})")


def _may_be_renewed(answer: httpx.Response) -> bool:
    """Whether the server refused the token that the request had."""
    is_refused = answer.status_code == UNAUTHORIZED
    return is_refused and "authorization" in answer.request.headers


def _pause(answer: httpx.Response) -> float | None:
    """Return the seconds to wait before the same request, or None where it is not repeated."""
    if answer.status_code not in (429, 503):
        return None
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    if seconds > LONGEST_PAUSE:
        return None
    return max(seconds, 0.1)


def _refusal(answer: httpx.Response) -> ServerRefused:
    """Return the server's own sentence as an error."""
    members: dict[str, Any] = {}
    try:
        content = json.loads(answer.content)
    except ValueError:
        content = None
    if isinstance(content, dict):
        members = cast("dict[str, Any]", content)
    message = members.pop("error", None) or f"the server answers {answer.status_code}"
    return ServerRefused(str(message), answer.status_code, members)


def _decode(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        raise ServerAway(
            f"{answer.request.url.host} sends no JSON: is it a Caudex server?"
        ) from None


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).lower()
