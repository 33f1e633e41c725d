"""Tokens for requests: a fixed one, or those of a session that is renewed when needed."""

from __future__ import annotations

from typing import Final, Protocol

import httpx

from plugins.authoring.errors import NotSignedIn

from .logins import Login, LoginFile, login_of_session

UNAUTHORIZED: Final = 401


class Credentials(Protocol):
    """Where the token of a request comes from."""

    async def token(self, http: httpx.AsyncClient) -> str:
        """Return a token that should be valid, or an empty text."""
        ...

    async def renew(self, http: httpx.AsyncClient, refused: str) -> bool:
        """Replace a token that a server refused; False where there is no other."""
        ...


class FixedToken:
    """A token or an API key that cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, http: httpx.AsyncClient) -> str:
        """Return it."""
        return self._token

    async def renew(self, http: httpx.AsyncClient, refused: str) -> bool:
        """Return False: there is no other."""
        return False


class KeptSession:
    """A session whose tokens are in a file. Each refresh token is good for one use only."""

    def __init__(self, file: LoginFile, url: str, login: Login) -> None:
        self._file = file
        self._url = url
        self._login = login

    async def token(self, http: httpx.AsyncClient) -> str:
        """Return the access token, a new one where the old one is about to end."""
        if self._login.is_stale:
            await self.renew(http, self._login.token)
        return self._login.token

    async def renew(self, http: httpx.AsyncClient, refused: str) -> bool:
        """Renew the session, unless another command has. Raises NotSignedIn when it has ended."""
        async with self._file.locked():
            login = self._file.read().servers.get(self._url)
            if login is None:
                raise ended(self._url)
            if login.token == refused or login.is_stale:
                login = await self._refresh(http, login)
            self._login = login
        return True

    async def _refresh(self, http: httpx.AsyncClient, login: Login) -> Login:
        answer = await http.post("/api/v1/auth/refresh", json={"refreshToken": login.refresh_token})
        if answer.status_code == UNAUTHORIZED:
            raise ended(self._url)
        answer.raise_for_status()
        login = login_of_session(answer.json(), login.username)
        self._file.replace(self._url, login)
        return login


def ended(url: str) -> NotSignedIn:
    """Return the error of a sign-in that is over."""
    return NotSignedIn(f"the sign-in at {url} has ended: caudex login --url {url}")
