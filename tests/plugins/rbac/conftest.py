"""A server with accounts and roles and nothing else: apps are installed through the hook."""

from collections.abc import Generator

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.rbac.support import only


@pytest.fixture(scope="module")
def rbac(postgres: Postgres) -> Generator[Server]:
    """A server with the plugins auth and rbac, shared by a module's tests."""
    with running_server(postgres, {"plugins": only("auth", "rbac")}) as running:
        yield running
