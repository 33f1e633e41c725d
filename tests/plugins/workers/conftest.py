"""A server whose workers are given up quickly."""

from collections.abc import Generator

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.workers.support import QUICK


@pytest.fixture(scope="module")
def workers(postgres: Postgres) -> Generator[Server]:
    """A server with short waits, shared by a module's tests."""
    with running_server(postgres, {"plugins": {"workers": dict(QUICK)}}) as running:
        yield running
