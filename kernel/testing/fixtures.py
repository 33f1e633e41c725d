"""The fixtures that pytest finds where Caudex is installed with its extra `testing`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Unpack

import pytest

from kernel.config.settings import load_config
from kernel.contracts.statements import DATABASE_SERVER
from kernel.loading.loader import load
from kernel.testing.databases import Postgres
from kernel.testing.options import NOTHING, MoreOptions, Overrides, ServerOptions
from kernel.testing.servers import MakeServer, Server, run_server, running_server

MEMORY = Path("/dev/shm")
ROOM = 4_000_000_000
"""Bytes. A container is given 64 MB of it by default, which is too little for a database."""


@pytest.fixture(scope="session")
def postgres() -> Generator[Postgres]:
    """A PostgreSQL of the test run: one of its own, or `CAUDEX_TEST_DATABASE_URL`."""
    if url := os.environ.get("CAUDEX_TEST_DATABASE_URL"):
        yield Postgres(url)
        return
    folder = Path(tempfile.mkdtemp(prefix="caudex-test-", dir=_in_memory()))
    folder.chmod(0o755)
    config = load_config(
        str(NOTHING),
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


def _in_memory() -> Path | None:
    """A folder in memory, where there is one with room.

    A run makes and drops hundreds of databases of a thousand files each, and ext4 looks for an
    inode past every one that was freed in the last half minute: ten times the work of the copy.
    """
    try:
        roomy = shutil.disk_usage(MEMORY).free > ROOM and os.access(MEMORY, os.W_OK | os.X_OK)
    except OSError:
        return None
    return MEMORY if roomy else None


@pytest.fixture
def database(postgres: Postgres) -> Generator[str]:
    """The DSN of a fresh, empty database."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    """What the fixture `server` is made of; a module or a `conftest.py` gives its own."""
    return {}


@pytest.fixture(scope="module")
def server(postgres: Postgres, server_options: ServerOptions) -> Generator[Server]:
    """A server as `server_options` says, shared by a module's tests, without a limit of logins."""
    with run_server(postgres, server_options) as running:
        yield running


@pytest.fixture
def make_server(postgres: Postgres) -> Generator[MakeServer]:
    """Start servers for one test: `make_server({"plugins": {…}}, plugins=[NotesPlugin])`.

    The first argument is `config`, the others are named as in `ServerOptions`.
    """
    with ExitStack() as stack:

        def make(config: Overrides | None = None, /, **more: Unpack[MoreOptions]) -> Server:
            return stack.enter_context(running_server(postgres, config, **more))

        yield make
