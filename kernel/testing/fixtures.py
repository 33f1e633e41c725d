"""The fixtures of pytest where Caudex is installed with its extra `testing`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Unpack

import pytest

from kernel.config.settings import load_config
from kernel.contracts.server import DATABASE_SERVER
from kernel.loading.loader import load
from kernel.testing.databases import Postgres
from kernel.testing.options import NOTHING, MoreOptions, Overrides, ServerOptions
from kernel.testing.servers import MakeServer, Server, run_server, running_server

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def postgres() -> Generator[Postgres]:
    """Run a PostgreSQL for the test run, or use `CAUDEX_TEST_DATABASE_URL`.

    `CAUDEX_TEST_POSTGRES_BIN` names a folder of the programs of another version to run.
    """
    url = os.environ.get("CAUDEX_TEST_DATABASE_URL")
    if url:
        with closing(Postgres(url)) as running:
            yield running
        return
    with run_postgres(os.environ.get("CAUDEX_TEST_POSTGRES_BIN", "")) as running:
        yield running


@contextmanager
def run_postgres(bin_dir: str = "") -> Generator[Postgres]:
    """Run a PostgreSQL by the programs in a folder; by default those that a server would take."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-test-", dir=_in_memory()))
    folder.chmod(0o755)
    config = load_config(
        str(NOTHING),
        environ={},
        overrides={
            "server.data_dir": str(folder),
            "plugins.postgres": {"port": 0, "ephemeral": True, "bin_dir": bin_dir},
        },
    )
    server = load(config).services.build_early(DATABASE_SERVER)
    assert server is not None, "no plugin runs a PostgreSQL: set CAUDEX_TEST_DATABASE_URL"
    try:
        with closing(Postgres(server.start())) as running:
            yield running
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> Path | None:
    """Return a folder in memory, if there is one with 4 GB free; a container has 64 MB by default.

    A run creates and drops hundreds of databases with a thousand files each. On ext4 the search for
    free inodes then takes ten times as long as the copy.
    """
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    is_usable = free > 4e9 and os.access(MEMORY, os.W_OK | os.X_OK)
    return MEMORY if is_usable else None


@pytest.fixture
def database(postgres: Postgres) -> Generator[str]:
    """Create an empty database and return its DSN."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    """Return the options of the fixture `server`; override it in a module or a `conftest.py`."""
    return {}


@pytest.fixture(scope="module")
def server(postgres: Postgres, server_options: ServerOptions) -> Generator[Server]:
    """Run a server with `server_options` for the tests of a module; logins are not limited."""
    with run_server(postgres, server_options) as running:
        yield running


@pytest.fixture
def make_server(postgres: Postgres) -> Generator[MakeServer]:
    """Start servers for one test: `make_server({"plugins": {…}}, plugins=[NotesPlugin])`.

    The first argument is `config`; the others have the names of `ServerOptions`.
    """
    with ExitStack() as stack:

        def make(config: Overrides | None = None, /, **more: Unpack[MoreOptions]) -> Server:
            return stack.enter_context(running_server(postgres, config, **more))

        yield make
