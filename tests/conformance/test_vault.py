"""The built-in vault keeps what VAULT promises."""

from kernel.testing.conformance import VaultConformance


class TestVault(VaultConformance):
    provider = "vault"
