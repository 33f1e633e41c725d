"""A running server for tests: real HTTP on a loopback port, a real database."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any, Protocol, TypeVar, Unpack

import httpx
import psycopg
import structlog

from kernel.cli.loop import ServerLoop
from kernel.cli.serve import Serving, bound_socket
from kernel.hooks.services import ServiceContainer
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load
from kernel.testing.databases import Postgres
from kernel.testing.options import MoreOptions, Overrides, ServerOptions, make_config, overrides_of
from kernel.testing.recorders import EventRecorder, HookRecorder

T = TypeVar("T")
PASSWORD = "Str0ngPass!x"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority: reading the certificates of all of them takes time for each client."""

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.5)
"""The limits of httpx, except the last: the server closes a connection after five idle seconds. A
request that is sent at that moment is lost."""

_count = itertools.count(1)


class Client(httpx.Client):
    """An HTTP client that is signed in as one user: `client.post("/api/v1/…", json=…)`."""

    id: str
    username: str
    password: str
    tokens: dict[str, Any]
    """The reply to the sign-in."""
    renewal: float
    """When half of the access token's life is over, on the clock of `time.monotonic`."""

    def __init__(
        self, *, verify: ssl.SSLContext = NO_TLS, limits: httpx.Limits = LIMITS, **options: Any
    ) -> None:
        """`options` are the others of `httpx.Client`."""
        super().__init__(verify=verify, limits=limits, **options)


class Server:
    """A running server, its database, and clients that are signed in.

    `url` is its address, `http` a client without a token, `dsn` the database's connection string.
    """

    def __init__(self, kernel: Kernel, dsn: str, thread: _ServerThread) -> None:
        self.kernel = kernel
        self.dsn = dsn
        self.url = f"http://127.0.0.1:{kernel.config.server.port}"
        self.http: httpx.Client = Client(base_url=self.url, timeout=60)
        self._thread = thread
        self._loop = thread.started_loop()
        self._clients: list[httpx.Client] = [self.http]
        self._idle: list[psycopg.Connection[Any]] = []
        self._admin: Client | None = None
        self._first = threading.Lock()

    @property
    def services(self) -> ServiceContainer:
        """The services of the running server; use them within `run`."""
        return self.kernel.services

    @property
    def admin(self) -> Client:
        """The first user, admin of `core`."""
        with self._first:  # a test may ask from several threads at once
            if self._admin is None:
                self._admin = self._register("admin", setup_token(self.kernel.context.notices))
            elif time.monotonic() > self._admin.renewal:
                self._sign_in(self._admin)  # a server of many tests outlives an access token
            return self._admin

    def user(
        self,
        name: str | None = None,
        *,
        roles: Mapping[str, Sequence[str]] | None = None,
        permissions: Mapping[str, Sequence[str]] | None = None,
    ) -> Client:
        """Register a user and sign in; without roles unless some are given.

        `roles={"crm": ["editor"]}` assigns roles that exist, `permissions={"core":
        ["notes.write"]}` makes a role of the user's own that holds just these keys.
        """
        _ = self.admin  # the first account becomes the admin
        client = self._register(name or f"user{next(_count)}")
        for app_id, names in (roles or {}).items():
            self.assign(client, app_id, *names)
        for app_id, keys in (permissions or {}).items():
            self.grant(client, app_id, *keys)
        return client

    def assign(self, client: Client, app_id: str, *roles: str) -> None:
        """Assign existing roles of an app, or of `core`, to a user."""
        for role in roles:
            body = {"userId": client.id, "role": role}
            _done(self.admin.post(f"/api/v1/apps/{app_id}/roles/assign", json=body))

    def grant(self, client: Client, app_id: str, *permissions: str) -> None:
        """Give a user permissions on an app, or on `core`, by a new role."""
        name = f"test_{next(_count)}"
        role = {"name": name, "permissions": list(permissions)}
        _done(self.admin.post(f"/api/v1/apps/{app_id}/roles", json=role))
        self.assign(client, app_id, name)

    def install(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Install an app, or update it, and return the reply."""
        return _done(self.admin.post("/api/v1/apps", json=dict(manifest))).json()

    def login(self, username: str, password: str = PASSWORD) -> Client:
        """Sign in and return the client."""
        client = Client(base_url=self.url, timeout=60)
        client.username = username
        client.password = password
        self._sign_in(client)
        self._clients.append(client)
        return client

    def _sign_in(self, client: Client) -> None:
        body = {"username": client.username, "password": client.password}
        client.tokens = _done(self.http.post("/api/v1/auth/login", json=body)).json()
        client.id = client.tokens["user"]["id"]
        client.headers["authorization"] = f"Bearer {client.tokens['accessToken']}"
        client.renewal = time.monotonic() + client.tokens["expiresIn"] / 2

    def record_hooks(self, *specs: Callable[..., Any]) -> HookRecorder:
        """Record the calls of hooks: `server.record_hooks(hookspecs.record_writing)`."""
        return HookRecorder(self.kernel.bus, specs)

    def record_events(self, *subjects: str) -> EventRecorder:
        """Record committed events, all or those of `crm.contacts`, `crm.*`, `core.*`."""
        return EventRecorder(self.kernel.bus, subjects)

    def run(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run a coroutine function in the server's event loop and return what it returns."""

        async def call() -> T:
            return await fn(*args)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement of psycopg's dialect (`%s`) and return its rows, if it has any.

        It has a session to itself; nothing of what it sets or holds is left to a later one.
        """
        connection = self._connection()
        try:
            cursor = connection.execute(query, params or None)  # type: ignore[arg-type]
            rows = cursor.fetchall() if cursor.description else []
            connection.execute("discard all")
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return rows

    def stop(self) -> None:
        """Stop the server as a signal does, before the test ends."""
        self._thread.stop()

    def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            client.close()
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> psycopg.Connection[Any]:
        """Take an idle connection, or connect, which takes several milliseconds."""
        while (connection := self._take_idle()) is not None:
            if not select([connection], [], [], 0)[0]:
                return connection
            connection.close()  # PostgreSQL has ended it
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)

    def _take_idle(self) -> psycopg.Connection[Any] | None:
        try:  # not `if self._idle`: another thread may take the last in between
            return self._idle.pop()
        except IndexError:
            return None

    def _register(self, name: str, token: str = "") -> Client:
        body = {"username": name, "password": PASSWORD}
        headers = {"x-setup-token": token} if token else {}
        _done(self.http.post("/api/v1/auth/register", json=body, headers=headers))
        return self.login(name)


def setup_token(notices: Sequence[str]) -> str:
    """Return the setup token of a public server from what it prints at its start, or ''."""
    match = re.search(r"#setup=(\S+)", "\n".join(notices))
    return match[1] if match else ""


def _done(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.url.path}: {answer.status_code} {answer.text}"
    return answer


class MakeServer(Protocol):
    """The type of the fixture `make_server`."""

    def __call__(self, config: Overrides | None = None, /, **more: Unpack[MoreOptions]) -> Server:
        """Start a server; it ends with the test."""
        ...


def running_server(
    postgres: Postgres, config: Overrides | None = None, /, **more: Unpack[MoreOptions]
) -> AbstractContextManager[Server]:
    """Run a server in a thread, on a database of its own unless `dsn` is given."""
    options: ServerOptions = {**more, "config": config or {}}
    return run_server(postgres, options)


@contextmanager
def run_server(postgres: Postgres, options: ServerOptions) -> Generator[Server]:
    """Run a server in a thread, as the options say."""
    _log_plainly()
    dsn = options.get("dsn", "")
    data_dir = options.get("data_dir")
    folder = data_dir or Path(tempfile.mkdtemp(prefix="caudex-data-"))
    url = dsn
    try:
        config = make_config(overrides_of(options), dsn or postgres.url, folder)
        with bound_socket(config) as listener:
            kernel = load(config.replaced("server", port=listener.getsockname()[1]))
            url = url or postgres.migrated(kernel)
            kernel.use_database(url, None)
            with _served(kernel, listener) as thread:
                running = Server(kernel, url, thread)
                try:
                    yield running
                finally:
                    running.close()
    finally:
        if url and not dsn:
            postgres.drop(url)
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def _log_plainly() -> None:
    """Log as structlog does by default, but without colours and frames around tracebacks.

    Drawing them costs some 30 ms for each exception. What a test has configured stays.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ]
        )


@contextmanager
def _served(kernel: Kernel, listener: socket.socket) -> Generator[_ServerThread]:
    """Serve over HTTP from a thread. Raises what the start raises."""
    thread = _ServerThread(Serving(kernel, listener, drain=5))
    thread.start()
    try:
        thread.started_loop()
        yield thread
    finally:
        thread.stop()


class _ServerThread(threading.Thread):
    def __init__(self, serving: Serving) -> None:
        super().__init__(name="server", daemon=True)
        self._serving = serving
        self._loop = ServerLoop()
        self._settled = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Serve until `stop`; an error is kept for the test's thread."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.get_loop()
                self._loop.run_main(
                    self._serving.run(self._settled.set), self._serving.fault_finder
                )
        except Exception as error:
            self._error = error
        finally:
            self._settled.set()

    def started_loop(self) -> asyncio.AbstractEventLoop:
        """Wait for the start and return the loop. Raises what the start raises."""
        if not self._settled.wait(60):
            raise TimeoutError("the server did not start in a minute: its log says why")
        if self._error is not None:
            raise self._error
        return self._loop

    def stop(self) -> None:
        """Stop serving; raises what the end of the application raised."""
        with suppress(RuntimeError):  # a server that did not start has closed its loop
            self._loop.call_soon_threadsafe(self._serving.stop)
        self.join(30)
        assert not self.is_alive(), "the server did not stop in 30 seconds"
        if self._error is not None:
            raise self._error
