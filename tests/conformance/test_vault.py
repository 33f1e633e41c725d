"""The built-in vault keeps what VAULT promises."""

import pytest

from kernel.testing.conformance import VaultConformance


class TestVault(VaultConformance):
    provider = "vault"

    @pytest.mark.slow
    def test_a_thousand_are_kept_and_one_more_is_refused(self, app):
        super().test_a_thousand_are_kept_and_one_more_is_refused(app)
