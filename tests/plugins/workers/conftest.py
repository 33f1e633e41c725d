"""A server whose workers are given up quickly."""

from collections.abc import Generator

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.workers.support import QUICK


@pytest.fixture(scope="module")
def workers(postgres: Postgres) -> Generator[Server]:
    """A server with short waits, shared by a module's tests."""
    # No test wants a call to end for its time alone, and a busy machine needs a lot of it.
    settings = {**QUICK, "rpc_timeout": 20}
    with running_server(postgres, {"plugins": {"workers": settings}}) as running:
        yield running
