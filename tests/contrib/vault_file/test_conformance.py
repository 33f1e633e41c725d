"""Secrets as files keep what VAULT promises, and every case of secrets over HTTP."""

import pytest

from kernel.testing import running_server
from kernel.testing.conformance import VaultConformance
from tests.acceptance.test_secrets import *  # noqa: F403 - its cases, on the server below
from tests.acceptance.test_workers import (  # noqa: F401 - so are these
    test_secrets_are_masked_in_errors_and_logs,
    test_secrets_reach_the_worker_and_a_change_reaches_it_while_it_runs,
)

CHOSEN = {"services": {"vault": "vault_file"}, "plugins": {"vault_file": {"enabled": True}}}


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, CHOSEN) as running:
        yield running


@pytest.fixture
def make_server(make_server):
    return lambda **more: make_server(CHOSEN, **more)


class TestVaultFile(VaultConformance):
    provider = "vault_file"

    @pytest.mark.slow
    def test_a_thousand_are_kept_and_one_more_is_refused(self, app):
        super().test_a_thousand_are_kept_and_one_more_is_refused(app)


def test_the_cases_over_http_are_about_files(server):
    server.admin.post(
        "/api/v1/platform/secrets", json={"key": "A", "value": "x"}
    ).raise_for_status()
    folder = server.kernel.config.data_dir / "secrets" / "platform"
    assert any(path.name.startswith("A-") for path in folder.iterdir())
    assert server.sql("select count(*) from caudex_vault.secrets") == [(0,)]


def test_the_engine_that_is_not_chosen_asks_for_no_key(server):
    keys = {path.name for path in (server.kernel.config.data_dir / "config").iterdir()}
    assert keys == {"evidence.key", "signing.key", "vault_file.key"}
    assert server.sql("select count(*) from caudex_vault.master") == [(0,)]
