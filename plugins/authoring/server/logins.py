"""Sign-ins that are kept in the user's configuration folder, for several servers side by side."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import anyio
import click
import msgspec

from kernel.public import KernelError, read_small_file, write_file

LOCK_SECONDS: Final = 30.0
"""Seconds that a command waits for another one that renews a session."""
LOCK_PAUSE: Final = 0.05


class Login(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sign-in: the tokens of a session, or an API key."""

    kind: Literal["session", "key"]
    username: str
    token: str
    """The access token, or the key."""
    refresh_token: str = ""
    expires: float = 0
    """Unix time at which the access token ends; 0 is never."""

    @property
    def is_stale(self) -> bool:
        """Whether the token ends within half a minute."""
        return self.expires > 0 and self.expires < time.time() + 30


class Logins(msgspec.Struct, kw_only=True):
    """The content of the file; `current` is the server that commands use unless one is named."""

    current: str = ""
    servers: dict[str, Login] = msgspec.field(default_factory=dict[str, Login])


class LoginFile:
    """The file of sign-ins. It can be read by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "servers.json"

    def read(self) -> Logins:
        """Return the sign-ins. Raises KernelError for a file of another program."""
        try:
            return msgspec.json.decode(read_small_file(self.path), type=Logins)
        except FileNotFoundError:
            return Logins()
        except (OSError, msgspec.MsgspecError) as error:
            raise KernelError(
                f"{self.path} cannot be read ({error}): remove it and sign in again"
            ) from None

    def write(self, logins: Logins) -> None:
        """Replace the file in one step."""
        content = msgspec.json.format(msgspec.json.encode(logins), indent=2)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self.path, content)
        except OSError as error:
            raise KernelError(f"{self.path} cannot be written: {error.strerror}") from None

    def keep(self, url: str, login: Login) -> None:
        """Keep a sign-in, and make its server the current one."""
        logins = self.read()
        logins.servers[url] = login
        logins.current = url
        self.write(logins)

    def replace(self, url: str, login: Login) -> None:
        """Replace the sign-in of a server, unless it was removed meanwhile."""
        logins = self.read()
        if url in logins.servers:
            logins.servers[url] = login
            self.write(logins)

    def remove(self, url: str) -> None:
        """Forget the sign-in of a server."""
        logins = self.read()
        logins.servers.pop(url, None)
        if logins.current == url:
            logins.current = next(iter(logins.servers), "")
        self.write(logins)

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None]:
        """Keep other commands from renewing a session, which two may not do at once."""
        path = self.path.with_name("servers.lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _lock(handle)
            yield
        finally:
            os.close(handle)


async def _lock(handle: int) -> None:
    try:
        with anyio.fail_after(LOCK_SECONDS):
            while not _try_lock(handle):  # noqa: ASYNC110 - another process holds it: no event
                await anyio.sleep(LOCK_PAUSE)
    except TimeoutError:
        raise KernelError("another command renews the session and does not end") from None


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def user_logins() -> LoginFile:
    """Return the file of this user."""
    return LoginFile(Path(click.get_app_dir("caudex")))


def login_of_session(session: Mapping[str, object], username: str) -> Login:
    """Make a sign-in from the reply to a login or a refresh."""
    return Login(
        kind="session",
        username=username,
        token=str(session["accessToken"]),
        refresh_token=str(session["refreshToken"]),
        expires=time.time() + float(str(session["expiresIn"])),
    )
