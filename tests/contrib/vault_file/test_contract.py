"""Secrets as files in the contract's own words, where no one has set a secret before."""

import pytest

from kernel.testing import running_server
from tests.acceptance.test_contract import (  # noqa: F401 - its cases, on the server below
    alice,
    test_platform_secrets_are_set_listed_and_deleted,
    test_secrets_are_set_listed_and_deleted,
)

CHOSEN = {"services": {"vault": "vault_file"}, "plugins": {"vault_file": {}}}


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, CHOSEN) as running:
        yield running


def test_the_cases_are_about_files(server, alice):  # noqa: F811 - the fixture
    assert server.kernel.services.provider("vault") == "vault_file"
    body = {"key": "SHARED", "value": "x"}
    alice.post("/api/v1/platform/secrets", json=body).raise_for_status()
    folder = server.kernel.config.data_dir / "secrets" / "platform"
    assert any(path.name.startswith("SHARED-") for path in folder.iterdir())
