"""`caudex login` and `caudex logout`."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Any, cast

import click

from kernel.public import BadRequest
from plugins.authoring.errors import NotSignedIn, ServerAway, ServerRefused
from plugins.authoring.output import Output

from .access import credentials_of
from .address import DEFAULT_URL, clean_url, is_exposed
from .connection import ServerConnection
from .credentials import FixedToken
from .logins import Login, login_of_session, user_logins


async def login(
    output: Output, *, url: str | None, username: str | None, key: str | None, register: bool
) -> int:
    """Sign in with a password, a second-factor code where it is needed, or an API key."""
    address = clean_url(url or os.environ.get("CAUDEX_URL") or DEFAULT_URL)
    if key is not None and (username or register):
        raise click.UsageError("--key is a sign-in of its own: leave out the other options")
    if is_exposed(address):
        output.note(f"warning: {address} is not encrypted; others on the way can read the sign-in")
    if key is not None:
        login = await _check_key(address, key or _ask("API key: "))
    else:
        login = await _begin_session(address, username, register)
    file = user_logins()
    file.keep(address, login)
    output.say(f"signed in at {address} as {login.username}")
    output.result({"url": address, "username": login.username, "kind": login.kind})
    return 0


async def _check_key(address: str, key: str) -> Login:
    async with ServerConnection(address, FixedToken(key)) as server:
        try:
            account = await server.get("/api/v1/auth/me")
        except NotSignedIn:
            raise NotSignedIn(f"{address} does not accept this key") from None
    return Login(kind="key", username=account["username"], token=key)


async def _begin_session(address: str, username: str | None, register: bool) -> Login:
    async with ServerConnection(address, FixedToken("")) as server:
        mode = await server.get("/api/v1/auth/mode")
        _check_mode(address, mode, register)
        name = username or _ask_name()
        password = _ask("Password: ")
        if register:
            if sys.stdin.isatty() and _ask("Again: ") != password:
                raise BadRequest("the two passwords differ")
            await server.post("/api/v1/auth/register", {"username": name, "password": password})
        session = await _log_in(server, {"username": name, "password": password})
    return login_of_session(session, session["user"]["username"])


def _check_mode(address: str, reply: object, register: bool) -> None:
    if not isinstance(reply, dict) or "authRequired" not in reply:
        raise ServerAway(f"{address} is no Caudex server")
    mode = cast("dict[str, Any]", reply)
    if mode.get("setupRequired") and not register:
        raise NotSignedIn(
            f"{address} has no account yet: make the first one, its admin, with --register"
        )
    if not mode.get("passwordLoginEnabled"):
        raise NotSignedIn(
            f"{address} takes no passwords: make an API key in its console, then use --key"
        )


async def _log_in(server: ServerConnection, body: dict[str, str]) -> Any:
    """Log in; ask for the code of a second factor where the server wants one."""
    try:
        return await _post_login(server, body)
    except ServerRefused as refusal:
        if not refusal.members.get("secondFactor"):
            raise
    return await _post_login(server, {**body, "code": _ask("Code: ")})


async def _post_login(server: ServerConnection, body: dict[str, str]) -> Any:
    return await server.post("/api/v1/auth/login", body)


def _ask_name() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return click.prompt("Username", err=True).strip()


def _ask(question: str) -> str:
    """Ask for a secret on a terminal; else take the next line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\r\n")


async def logout(output: Output, *, url: str | None, every: bool) -> int:
    """End the session at a server, and forget the sign-in."""
    file = user_logins()
    logins = file.read()
    addresses = [clean_url(url)] if url else [logins.current]
    if every:
        addresses = [*logins.servers]
    signed_out: list[str] = []
    for address in addresses:
        login = logins.servers.get(address)
        if login is None:
            raise NotSignedIn(f"there is no sign-in at {address}" if address else "not signed in")
        if login.kind == "session":
            await _end_session(output, address, login)
        file.remove(address)
        signed_out.append(address)
        output.say(f"signed out at {address}")
    output.result({"urls": signed_out})
    return 0


async def _end_session(output: Output, address: str, login: Login) -> None:
    """End the session on the server; the sign-in is forgotten even if that fails."""
    async with ServerConnection(address, credentials_of(user_logins(), address, login)) as server:
        try:
            await server.post("/api/v1/auth/logout", {"refreshToken": login.refresh_token})
        except (ServerRefused, ServerAway, NotSignedIn) as refusal:
            output.note(f"the session could not be ended on the server: {refusal.message}")
