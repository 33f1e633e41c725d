"""A PostgreSQL that may be hurt, and folders that its account can enter."""

import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plugins.postgres.processes import stop_orphans
from tests.faults.support import DurablePostgres, Site


@pytest.fixture(scope="session")
def folders() -> Generator[Callable[[], Path]]:
    """Makes folders; pytest's own are closed to other accounts."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="caudex-fault-")).resolve()
        folder.chmod(0o711)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        for cluster in folder.glob("*data/postgres"):
            while stop_orphans(cluster):
                time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(folders: Callable[[], Path]) -> Path:
    """A fresh folder."""
    return folders()


@pytest.fixture(scope="module")
def durable(folders: Callable[[], Path]) -> Generator[DurablePostgres]:
    """A PostgreSQL with all its durability, shared by a module."""
    with DurablePostgres(folders()) as server:
        yield server


@pytest.fixture
def make_site(
    folders: Callable[[], Path], durable: DurablePostgres
) -> Generator[Callable[..., Site]]:
    """Make deployments: with a database of the shared PostgreSQL, with `dsn=""` their own.

    Tables of the configuration are named `plugins__jobs={...}`.
    """
    with ExitStack() as stack:

        def make(dsn: str | None = None, **tables: object) -> Site:
            url = durable.create() if dsn is None else dsn
            return stack.enter_context(Site(folders(), url, **tables))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A deployment on the shared PostgreSQL."""
    return make_site()
