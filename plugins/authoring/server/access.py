"""Chooses the server of a command and the sign-in for it."""

from __future__ import annotations

import os
from pathlib import Path

from plugins.authoring.errors import NotSignedIn

from .address import clean_url
from .connection import ServerConnection
from .credentials import Credentials, FixedToken, KeptSession
from .logins import Login, LoginFile, user_logins

DEVELOPMENT_FOLDER = ".caudex"
"""The folder of a project in which `caudex app dev` keeps its server."""


def open_server(url: str | None, project: Path | None = None) -> ServerConnection:
    """Return a connection to the named server, or to the current one. Raises NotSignedIn.

    `CAUDEX_URL` and `CAUDEX_TOKEN` replace a sign-in, as in CI. The server of `caudex app dev` is
    found by its address, within the project.
    """
    address = url or os.environ.get("CAUDEX_URL") or ""
    token = os.environ.get("CAUDEX_TOKEN") or ""
    if address:
        address = clean_url(address)
    if token and address:
        return ServerConnection(address, FixedToken(token.strip()))
    for file in _files(project):
        logins = file.read()
        chosen = address or logins.current
        login = logins.servers.get(chosen)
        if login is not None:
            return ServerConnection(chosen, credentials_of(file, chosen, login))
    if address:
        raise NotSignedIn(f"sign in first: caudex login --url {address}")
    raise NotSignedIn("sign in first: caudex login --url URL")


def credentials_of(file: LoginFile, url: str, login: Login) -> Credentials:
    """Return what gives the tokens of a sign-in."""
    if login.kind == "key":
        return FixedToken(login.token)
    return KeptSession(file, url, login)


def _files(project: Path | None) -> list[LoginFile]:
    files = [user_logins()]
    if project is not None:
        files.append(LoginFile(project / DEVELOPMENT_FOLDER))
    return files
