"""The server of a project: started when needed, with its database in the folder `.caudex`."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import Process

from kernel.public import KernelError, read_small_file, write_file
from plugins.authoring.errors import ServerAway, ServerRefused
from plugins.authoring.server.access import DEVELOPMENT_FOLDER
from plugins.authoring.server.connection import ServerConnection
from plugins.authoring.server.credentials import FixedToken, KeptSession
from plugins.authoring.server.logins import LoginFile, login_of_session

PORT: Final = 9100
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 40.0
BANNER: Final = re.compile(r"^Caudex \S+ on (http://\S+)", re.MULTILINE)
CONFIG: Final = """\
# The server of `caudex app dev`. Change it as you like; `caudex init` shows every setting.
[plugins.postgres]
port = 0
"""
CRON: Final = """
[plugins.cron]
"""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The admin of a server for development."""

    username: str
    password: str


class DevelopmentServer:
    """The server of one project."""

    def __init__(self, root: Path) -> None:
        self._folder = root / DEVELOPMENT_FOLDER
        self._log = self._folder / "server.log"

    @asynccontextmanager
    async def running(self, port: int | None) -> AsyncGenerator[tuple[ServerConnection, Account]]:
        """Run the server for as long as the block lasts. Raises KernelError."""
        self._prepare()
        process = await self._start(_choose_port(port))
        try:
            url = await self._wait(process)
            account = await self._open_account(url)
            file = LoginFile(self._folder)
            login = file.read().servers[url]
            async with ServerConnection(url, KeptSession(file, url, login)) as server:
                yield server, account
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)

    def _prepare(self) -> None:
        """Make the folder. As root, PostgreSQL runs under another account and passes through it."""
        try:
            self._folder.mkdir(exist_ok=True)
            self._folder.chmod(0o711)
            config = self._folder / "caudex.toml"
            if not config.exists():
                text = CONFIG
                if find_spec("cronsim") is not None:
                    text += CRON
                config.write_text(text, "utf-8")
        except OSError as error:
            raise KernelError(f"{self._folder} cannot be written: {error.strerror}") from None

    async def _start(self, port: int) -> Process:
        """Start `caudex serve`. Its session is its own, so Ctrl-C ends it after the last deploy."""
        with self._log.open("wb") as log:
            return await anyio.open_process(
                [
                    sys.executable, "-m", "kernel", "serve", "--port", str(port),
                    "--config", str(self._folder / "caudex.toml"),
                    "--data-dir", str(self._folder / "data"),
                ],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip

    async def _wait(self, process: Process) -> str:
        """Wait for the line with the address, and return the address."""
        with anyio.move_on_after(START_SECONDS):
            while process.returncode is None:
                banner = BANNER.search(self._text())
                if banner is not None:
                    return banner[1]
                await anyio.sleep(0.05)
        lines = [line for line in self._text().splitlines() if line.startswith("caudex: ")]
        reason = "; ".join(line.removeprefix("caudex: ") for line in lines)
        raise ServerAway(f"the server did not start: {reason or f'see {self._log}'}")

    def _text(self) -> str:
        return self._log.read_text("utf-8", "replace")

    async def _open_account(self, url: str) -> Account:
        """Sign in as the admin; a new server gets one with a random password."""
        path = self._folder / "account.json"
        account = _read_account(path)
        async with ServerConnection(url, FixedToken("")) as server:
            if account is None:
                account = Account(username="dev", password=secrets.token_urlsafe(12))
                await server.post("/api/v1/auth/register", msgspec.to_builtins(account))
                write_file(path, msgspec.json.encode(account))
            session = await _log_in(server, account, path)
        LoginFile(self._folder).keep(url, login_of_session(session, account.username))
        return account


def _read_account(path: Path) -> Account | None:
    try:
        return msgspec.json.decode(read_small_file(path), type=Account)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


async def _log_in(server: ServerConnection, account: Account, path: Path) -> Mapping[str, Any]:
    try:
        return await server.post("/api/v1/auth/login", msgspec.to_builtins(account))
    except ServerRefused as refusal:
        raise ServerRefused(
            f"{refusal.message}: write the account of an admin into {path}", refusal.code, {}
        ) from None


def _choose_port(port: int | None) -> int:
    """Return the usual port, or 0 for any, where another server has it."""
    if port is not None:
        return port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


def _environment() -> dict[str, str]:
    """Return the environment without what configures other servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CAUDEX_") and name != "DATABASE_URL"
    }


async def _stop(process: Process) -> None:
    """End the server, as a signal does."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(STOP_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
