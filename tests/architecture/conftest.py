"""A database with everything in it."""

import asyncio
from collections.abc import Generator

import pytest

from docs.schemas import migrations
from kernel.config.settings import DatabaseConfig
from kernel.database.migrations import migrate
from kernel.testing import Postgres


@pytest.fixture(scope="package")
def migrated(postgres: Postgres) -> Generator[str]:
    """A database with the migrations of every plugin."""
    url = postgres.create()
    asyncio.run(migrate(DatabaseConfig(url=url), migrations()))
    yield url
    postgres.drop(url)
