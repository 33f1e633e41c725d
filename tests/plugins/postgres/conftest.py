"""Folders that PostgreSQL's account can enter, and servers on them."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.postgres import EmbeddedServer, PostgresConfig
from plugins.postgres.processes import stop_orphans
from tests.plugins.postgres.support import ask, copy_cluster

Folder = Callable[[], Path]


@pytest.fixture(scope="session")
def folders() -> Iterator[Folder]:
    """Makes folders below /tmp: pytest's own are closed to other accounts."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="caudex-test-", dir="/tmp")).resolve()
        folder.chmod(0o711)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        while stop_orphans(folder / "postgres"):
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(folders: Folder) -> Path:
    """A fresh folder."""
    return folders()


@pytest.fixture(scope="session")
def template(folders: Folder) -> Path:
    """A data folder with a cluster that no server runs in; copy it to save an initdb."""
    data = folders() / "data"
    with EmbeddedServer(data, PostgresConfig(port=0, ephemeral=True)) as server:
        ask(server.dsn(), "CREATE TABLE kept (number int)")
    return data


@pytest.fixture
def data(folder: Path, template: Path) -> Path:
    """A data folder of the test's own, with a cluster in it."""
    return copy_cluster(template, folder / "data")


@pytest.fixture(scope="session")
def shared(folders: Folder, template: Path) -> Iterator[EmbeddedServer]:
    """A running server for tests that leave it as it is."""
    data = copy_cluster(template, folders() / "data")
    with EmbeddedServer(
        data, PostgresConfig(port=0, ephemeral=True, settings={"max_connections": 33})
    ) as server:
        yield server
