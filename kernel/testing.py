"""What authors of plugins test with; loaded as a pytest plugin.

Fixtures: `postgres` (a PostgreSQL of the test run, or `CAUDEX_TEST_DATABASE_URL`), `database` (a
fresh empty database), `make_server` (a server of your own making) and `server` (one with every
default plugin, shared by a module). Tests are plain functions: the server runs in a thread and is
spoken to over real HTTP.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.config import Config, load_config
from kernel.contracts.statements import DATABASE_SERVER
from kernel.loader import Kernel, load
from kernel.migrations import migrate
from kernel.serve import Serving, at_port, bound_socket, use_database
from kernel.services import Services

T = TypeVar("T")
Overrides = Mapping[str, Any]
PASSWORD = "Str0ngPass!x"
_count = itertools.count(1)


class Postgres:
    """A PostgreSQL for tests; databases are made from a template that is migrated already."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._templates: dict[tuple[str, ...], str] = {}

    def create(self, template: str = "template0") -> str:
        """Make a database and return its DSN."""
        name = f"caudex_test_{os.getpid()}_{next(_count)}_{secrets.token_hex(3)}"
        self._run(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return make_conninfo(self.url, dbname=name)

    def migrated(self, kernel: Kernel) -> str:
        """Make a database that has the migrations of the kernel's plugins, and return its DSN."""
        migrations = kernel.migrations()
        key = tuple(f"{m.plugin}/{m.checksum}" for m in migrations)
        if key not in self._templates:
            url = self.create()
            asyncio.run(
                migrate(msgspec.structs.replace(kernel.config.database, url=url), migrations)
            )
            self._templates[key] = conninfo_to_dict(url)["dbname"]  # type: ignore[index]
        return self.create(self._templates[key])

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        name = conninfo_to_dict(url)["dbname"]
        statement = sql.SQL("drop database if exists {} with (force)")
        self._run(statement.format(sql.Identifier(str(name))))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


class Client(httpx.Client):
    """An HTTP client that is signed in as one user."""

    id: str
    username: str
    password: str
    tokens: dict[str, Any]


class Server:
    """A running server: real HTTP on a loopback port, a real database."""

    def __init__(self, kernel: Kernel, dsn: str, thread: _ServerThread) -> None:
        self.kernel = kernel
        self.dsn = dsn
        self.url = f"http://127.0.0.1:{kernel.config.server.port}"
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self._thread = thread
        self._loop = thread.started_loop()
        self._clients: list[httpx.Client] = [self.http]
        self._admin: Client | None = None

    @property
    def services(self) -> Services:
        """The services of the running server; use them within `run`."""
        return self.kernel.services

    @property
    def admin(self) -> Client:
        """The first user, admin of `core`."""
        if self._admin is None:
            self._admin = self._register("admin")
        return self._admin

    def user(self, name: str | None = None) -> Client:
        """Register a user without any role and sign in."""
        _ = self.admin  # the first to register is the admin, and that is somebody else
        return self._register(name or f"user{next(_count)}")

    def login(self, username: str, password: str = PASSWORD) -> Client:
        """Sign in and return the client."""
        answer = self.http.post(
            "/api/v1/auth/login", json={"username": username, "password": password}
        )
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        client = Client(
            base_url=self.url,
            timeout=60,
            headers={"authorization": f"Bearer {tokens['accessToken']}"},
        )
        client.id, client.username = tokens["user"]["id"], username
        client.password, client.tokens = password, tokens
        self._clients.append(client)
        return client

    def run(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run a coroutine function in the server's event loop and return what it returns."""

        async def call() -> T:
            return await fn(*args)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement of psycopg's dialect (`%s`) and return its rows, if it has any."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(query, params or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Stop the server as a signal would, before the test ends."""
        self._thread.stop()

    def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            client.close()

    def _register(self, name: str) -> Client:
        body = {"username": name, "password": PASSWORD}
        answer = self.http.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        return self.login(name)


MakeServer = Callable[..., Server]


@pytest.fixture(scope="session")
def postgres() -> Generator[Postgres]:
    """A PostgreSQL of the test run: one of its own, or `CAUDEX_TEST_DATABASE_URL`."""
    if url := os.environ.get("CAUDEX_TEST_DATABASE_URL"):
        yield Postgres(url)
        return
    folder = Path(tempfile.mkdtemp(prefix="caudex-test-"))
    folder.chmod(0o755)
    config = load_config(
        environ={},
        overrides={
            "server.data_dir": str(folder),
            "plugins.postgres": {"port": 0, "ephemeral": True},
        },
    )
    server = load(config).services.build_early(DATABASE_SERVER)
    assert server is not None, "no plugin runs a PostgreSQL: set CAUDEX_TEST_DATABASE_URL"
    try:
        yield Postgres(server.start())
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: Postgres) -> Generator[str]:
    """The DSN of a fresh, empty database."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    """A server with every default plugin, shared by a module's tests; no login throttle."""
    with running_server(postgres, {}) as running:
        yield running


@pytest.fixture
def make_server(postgres: Postgres) -> Generator[MakeServer]:
    """Start servers of one's own making: `make_server({"plugins": {"vault": {...}}})`.

    `dsn=` shares the database of another server, `data_dir=` its keys.
    """
    with ExitStack() as stack:

        def make(overrides: Overrides | None = None, **more: Any) -> Server:
            return stack.enter_context(running_server(postgres, overrides or {}, **more))

        yield make


def make_config(overrides: Overrides, url: str, data_dir: Path) -> Config:
    """Build a configuration for a test: nothing of the environment, login throttle off."""
    tree: dict[str, Any] = copy.deepcopy(dict(overrides))
    tree.setdefault("server", {}).setdefault("data_dir", str(data_dir))
    tree["server"].setdefault("port", 0)
    tree.setdefault("database", {}).setdefault("url", url)
    tree["database"].setdefault("pool_size", 6)
    plugins = tree.setdefault("plugins", {})
    if plugins.get("auth", {}).get("enabled", True) is not False:
        plugins.setdefault("auth", {}).setdefault("throttle", False)
    flat = {
        f"{section}.{key}": value for section, table in tree.items() for key, value in table.items()
    }
    return load_config(environ={}, overrides=flat)


def running_server(
    postgres: Postgres, overrides: Overrides, *, dsn: str = "", data_dir: Path | None = None
) -> AbstractContextManager[Server]:
    """Run a server in a thread, on a database of its own unless `dsn` is given."""
    return _running_server(postgres, overrides, dsn, data_dir)


@contextmanager
def _running_server(
    postgres: Postgres, overrides: Overrides, dsn: str, data_dir: Path | None
) -> Generator[Server]:
    folder = data_dir or Path(tempfile.mkdtemp(prefix="caudex-data-"))
    config = make_config(overrides, dsn or postgres.url, folder)
    url = dsn
    try:
        with bound_socket(config) as listener:
            kernel = load(at_port(config, listener))
            url = url or postgres.migrated(kernel)
            use_database(kernel, url, None)
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


@contextmanager
def _served(kernel: Kernel, listener: socket.socket) -> Generator[_ServerThread]:
    """Serve over HTTP from a thread. Raises what kept the application from starting."""
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
        self._loop = asyncio.new_event_loop()
        self._settled = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Serve until `stop`; an error is kept for the test's thread."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serving.run(self._settled.set))
        except Exception as error:
            self._error = error
        finally:
            self._settled.set()

    def started_loop(self) -> asyncio.AbstractEventLoop:
        """Wait for the start and return the loop. Raises what kept it from starting."""
        if not self._settled.wait(60):
            raise TimeoutError("the server did not start in a minute: its log says why")
        if self._error is not None:
            raise self._error
        return self._loop

    def stop(self) -> None:
        """Stop serving; raises what the end of the application raised."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._serving.stop)
        self.join(30)
        assert not self.is_alive(), "the server did not stop in 30 seconds"
        if self._error is not None:
            raise self._error
