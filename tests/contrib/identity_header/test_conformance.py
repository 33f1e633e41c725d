"""Accounts that a proxy signs in keep what IDENTITY promises."""

from kernel.testing.conformance import IdentityConformance
from tests.contrib.identity_header.support import OVERRIDES, client_of


class TestIdentityHeader(IdentityConformance):
    provider = "identity_header"
    overrides = OVERRIDES

    @classmethod
    def sign_in(cls, server, name):
        return client_of(server, name)
